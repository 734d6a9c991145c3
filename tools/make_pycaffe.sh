#!/bin/sh
# Sets up real BVLC Caffe with its Python binding in .pycaffe/, once: Debian bullseye's package in a
# root file system of its own (.pycaffe/root) and a script, .pycaffe/python, that runs its Python.
# Setting up needs root and debootstrap (and MIRROR, where the system's default has no bullseye);
# running needs neither. .pycaffe/python comes last, so what is half made never counts.
set -eu

cd "$(dirname "$0")/.."
if [ -e .pycaffe/python ]; then
    echo "pycaffe is there: .pycaffe/python"
    exit
fi
fail() {
    echo "make pycaffe: $1" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || fail "needs root to set up Debian's pycaffe; run it as root, e.g. by sudo"
command -v debootstrap >/dev/null || fail "needs debootstrap; apt-get install debootstrap brings it"

exec 9<"$0" && flock 9 # a second run waits here
root=$PWD/.pycaffe/root
discard() {
    umount "$root/proc" "$root/sys" 2>/dev/null || true # what a killed debootstrap leaves mounted
    rm -rf --one-file-system .pycaffe
}
if [ -e .pycaffe/python ]; then exit; fi
discard
trap 'status=$?; [ -e .pycaffe/python ] || discard; exit $status' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "pycaffe: fetching Debian bullseye with python3-caffe into .pycaffe/ (about 2 minutes, 0.7 GB)"
mkdir -p .pycaffe
if ! debootstrap --variant=minbase --include=python3-caffe bullseye "$root" ${MIRROR:+"$MIRROR"} \
    >.pycaffe/log 2>&1; then
    tail -n 5 .pycaffe/log >&2
    fail "debootstrap failed, as told above"
fi

echo "pycaffe: removing package caches and documentation"
rm -rf "$root"/var/cache/* "$root"/var/lib/apt/lists/* .pycaffe/log
for part in doc info locale man; do rm -rf "$root/usr/share/$part"; done

libraries=$(dirname "$(ls "$root"/usr/lib/*-linux-gnu/libc.so.6)")
libraries=${libraries#"$root"}
loader=$(basename "$(ls "$root$libraries"/ld-*.so | head -n 1)")
cat >.pycaffe/python.part <<WRAPPER
#!/bin/sh
# Python 3.9 with pycaffe, run by its own loader and libraries, so that it needs no chroot.
root=\$(dirname "\$(readlink -f "\$0")")/root
libraries=\$root$libraries
unset LD_PRELOAD PYTHONPATH
export PYTHONHOME="\$root/usr" PYTHONNOUSERSITE=1
exec "\$libraries/$loader" --library-path \\
    "\$libraries:\$root/usr/lib:\$libraries/openblas-pthread:\$libraries/blas:\$libraries/lapack" \\
    "\$root/usr/bin/python3.9" "\$@"
WRAPPER
chmod +x .pycaffe/python.part
version=$(.pycaffe/python.part -c "import caffe; print(caffe.__version__)") ||
    fail "import caffe failed, as told above"
mv .pycaffe/python.part .pycaffe/python
echo "pycaffe: Caffe $version is ready: .pycaffe/python"
