#!/usr/bin/env bash
# `make images`: builds landmarkgan and landmarkgan-trainer with Docker or Podman; where neither is, with buildah, on a
# base that debootstrap makes from the packages of the mirror that apt uses. Both want root then, and no engine.
# Beside each image: dist/NAME.cdx.json, its SBOM; and with ARCHIVES=yes dist/NAME-VERSION.tar, the image itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
images=("landmarkgan Dockerfile" "landmarkgan-trainer docker/trainer.Dockerfile")
arguments=(--build-arg "ONNXRUNTIME=${ONNXRUNTIME:-cpu}")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
[[ $(<shared/__init__.py) =~ __version__\ =\ \"([^\"]+)\" ]]
version=${BASH_REMATCH[1]}
sbom=/opt/venv/sbom.cdx.json

for engine in docker podman; do
  if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
    mkdir -p dist
    for image in "${images[@]}"; do
      read -r name file <<<"$image"
      "$engine" build "${arguments[@]}" -t "$name" -t "$name:$version" -f "$file" .
      container=$("$engine" create "$name")
      "$engine" cp "$container:$sbom" "dist/$name.cdx.json"
      "$engine" rm "$container" >/dev/null
      [ -z "${ARCHIVES:-}" ] || "$engine" save -o "dist/$name-$version.tar" "$name:$version"
    done
    exit
  fi
done

if ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "There is no Docker and no Podman. Without them: apt-get install buildah debootstrap, and run this as root." >&2
  exit 1
fi
mkdir -p dist
own=(buildah --storage-driver vfs)
base=localhost/landmarkgan-base
if [ -z "${BASE:-}" ]; then
  if ! "${own[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    . /etc/os-release
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    debootstrap --variant=minbase --include=python3,ca-certificates "$VERSION_CODENAME" "$folder/root"
    # A proxy's certificates, where this machine has some; what apt left behind, and pages that nobody reads.
    cp /etc/ssl/certs/ca-certificates.crt "$folder/root/etc/ssl/certs/"
    rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/* \
      "$folder"/root/usr/share/{doc,man,info,locale}/* "$folder"/root/usr/lib/*/gconv "$folder"/root/usr/lib/python3*/EXTERNALLY-MANAGED
    container=$("${own[@]}" from scratch)
    "${own[@]}" add --quiet "$container" "$folder/root" /
    "${own[@]}" commit --quiet --rm "$container" "$base"
  fi
  arguments+=(--build-arg "BASE=$base")
fi
if [ -d "${PIP_FIND_LINKS:-}" ]; then
  arguments+=(--volume "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro" --build-arg "PIP_FIND_LINKS=$PIP_FIND_LINKS")
fi
for image in "${images[@]}"; do
  read -r name file <<<"$image"
  "${own[@]}" bud --isolation chroot --pull-never "${arguments[@]}" -t "$name" -t "$name:$version" -f "$file" .
  container=$("${own[@]}" from --pull-never "$name")
  cp "$("${own[@]}" mount "$container")$sbom" "dist/$name.cdx.json"
  "${own[@]}" rm "$container" >/dev/null
  [ -z "${ARCHIVES:-}" ] || "${own[@]}" push --quiet "$name" "oci-archive:dist/$name-$version.tar:$name:$version"
done
"${own[@]}" images --format '{{.Name}} {{.Size}}'
