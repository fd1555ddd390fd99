# The service. `make images` builds it, with Docker, Podman or no engine at all; for CUDA: ONNXRUNTIME=gpu.
# BASE is any image with Python 3.11 or newer as python3. PIP_FIND_LINKS may name a folder of wheels, mounted for the build.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
RUN python3 -c 'import ensurepip' || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }
RUN python3 -m venv /opt/venv
ARG ONNXRUNTIME=cpu
ARG PIP_FIND_LINKS=
ENV PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY pyproject.toml shared/__init__.py ./
COPY requirements requirements
RUN requirements/install.sh /opt/venv/bin/python $ONNXRUNTIME service \
    && /opt/venv/bin/pip uninstall -y --quiet pip setuptools
# What the wheels bring beside what runs here: their tests, ONNX Runtime's library for C and its tools for training.
RUN cd /opt/venv/lib/python3*/site-packages && find . -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf onnxruntime/capi/libonnxruntime.so* onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
    && find . -name '*.py[ix]' -delete -o -name '*.pxd' -delete -o -name '*.[ah]' -delete
# The CycloneDX SBOM of what is installed, by a tool that is not.
RUN python3 -m venv /opt/sbom && requirements/install.sh /opt/sbom/bin/python sbom \
    && sed -i "s/^dynamic = .*/$(sed -n 's/^__version__/version/p' __init__.py)/" pyproject.toml \
    && /opt/sbom/bin/cyclonedx-py environment /opt/venv/bin/python --pyproject pyproject.toml --output-reproducible \
        -o /opt/venv/sbom.cdx.json

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
