# The service. CPU: docker build .    CUDA: docker build --build-arg ONNXRUNTIME=gpu .
FROM python:3.11-slim
ARG ONNXRUNTIME=cpu
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE NOTICE ./
RUN pip install --no-cache-dir -c constraints.txt ".[$ONNXRUNTIME,service]"
COPY shared shared
COPY service service
COPY models models
RUN install -d -o 65534 -g 65534 jobs
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 LANDMARKGAN_HOST=0.0.0.0 LANDMARKGAN_PORT=8000
EXPOSE 8000
USER 65534:65534
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["python", "-m", "service"]
