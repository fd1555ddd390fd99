# The service. `make images` builds it, with Docker, Podman or no engine at all; for CUDA: ONNXRUNTIME=gpu.
# BASE is any image with Python 3.11 or newer as python3. PIP_FIND_LINKS may name a folder of wheels, mounted for the build.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
RUN python3 -c 'import ensurepip' || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }
RUN python3 -m venv /opt/venv
ARG ONNXRUNTIME=cpu
ARG PIP_FIND_LINKS=
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE NOTICE ./
RUN /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ".[$ONNXRUNTIME,service]" \
    && /opt/venv/bin/pip uninstall -y --quiet landmarkgan pip setuptools
# What the wheels bring beside what runs here: their tests, ONNX Runtime's library for C and its tools for training.
RUN cd /opt/venv/lib/python3*/site-packages && find . -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf onnxruntime/capi/libonnxruntime.so* onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
    && find . -name '*.py[ix]' -delete -o -name '*.pxd' -delete -o -name '*.[ah]' -delete

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE NOTICE ./
COPY shared shared
COPY service service
COPY models models
RUN install -d -o 65534 -g 65534 jobs
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 LANDMARKGAN_HOST=0.0.0.0 LANDMARKGAN_PORT=8000
EXPOSE 8000
USER 65534:65534
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["python", "-m", "service"]
