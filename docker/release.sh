#!/usr/bin/env bash
# `make release`: wheel, sources, images and their SBOMs in dist/, and SHA256SUMS of all, signed where KEY names an SSH key.
# IMAGES=no leaves the images out. $1 is a Python with setuptools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
  echo "A release is made of what is committed, and here files are changed that are not." >&2
  exit 1
fi
if [ -n "${KEY:-}" ] && [ ! -r "$KEY" ]; then
  echo "KEY: $KEY can't be read. ssh-keygen -t ed25519 -f FILE makes a key." >&2
  exit 1
fi
rm -rf build dist
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) "$1" -c 'from setuptools import build_meta
build_meta.build_sdist("dist")
build_meta.build_wheel("dist")' >/dev/null
rm -rf build
if [ "${IMAGES:-}" = no ]; then
  echo "Without images, as IMAGES=no has it." >&2
elif command -v docker || command -v podman || command -v buildah; then
  ARCHIVES=yes docker/images.sh
else
  echo "Without images: there is no Docker, Podman or buildah here." >&2
fi
cd dist
sha256sum -- * >SHA256SUMS
if [ -n "${KEY:-}" ]; then
  ssh-keygen -q -Y sign -f "$KEY" -n landmarkgan SHA256SUMS
else
  echo "SHA256SUMS is not signed: KEY names no key." >&2
fi
ls -sh
