#!/bin/sh
# requirements/install.sh PYTHON EXTRA…: installs what the extras bring; pip takes no file whose hash is not in these lists.
# Of torch it is the build for CPUs where pip's index offers that, else PyPI's.
set -eu
python=$1
shift
cd "$(dirname "$0")"
install() {
  "$python" -m pip install -q --disable-pip-version-check --require-hashes --no-deps "$@"
}
lists=
torch=
for extra; do
  lists="$lists -r $extra.txt"
  case $extra in trainer | fan) torch=wanted ;; esac
done
# shellcheck disable=SC2086 # words of ours
install $lists
[ -z "$torch" ] || install -r torch-cpu.txt 2>/dev/null || install -r torch.txt
