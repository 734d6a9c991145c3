# make               everything: .venv, then the six steps for mnistcls, as far as they are out of date
# make test          the linter and all tests; those that need pycaffe are skipped where there is none
# make pycaffe       real BVLC Caffe into .pycaffe/ (once; needs root and debootstrap)
# make applications  every network of keras.applications, each layer compared (half an hour)
# make clean         removes what the six steps left, pictures apart; .venv and .pycaffe stay
# PYTHON=...         the Python, 3.11 or newer, that .venv is made of (default: python3)

PYTHON ?= python3
python := .venv/bin/python
pip := $(python) -m pip install -qq --disable-pip-version-check

modules := $(wildcard tf2caffe/*.py models/*.py) .venv/installed
# training takes minutes, so it is run again only for what it imports
training := $(wildcard models/*.py data/*.npz) \
    $(addprefix tf2caffe/,archive.py curves.py distortion.py handoff.py pictures.py quiet.py \
    replicas.py stage.py)

# a stamp beside it, since train.py leaves a whole checkpoint after every epoch
checkpoint := checkpoints/mnistcls.keras checkpoints/.mnistcls.trained

.PHONY: all test pycaffe applications clean help
.NOTPARALLEL:
.PRECIOUS: checkpoints/mnistcls.keras

# in the order of the steps
all: $(checkpoint) imgs/mnistcls/tf/res10.png activations/mnistcls.npz \
    tf_weights/mnistcls/graph.json nets/mnistcls.prototxt nets/.mnistcls.proven

$(checkpoint) &: train.py $(training) | .venv/installed
	$(python) train.py
	@touch checkpoints/.mnistcls.trained

imgs/mnistcls/tf/res10.png: estimator_predict.py $(checkpoint) $(modules)
	$(python) estimator_predict.py

activations/mnistcls.npz imgs/mnistcls/tf/convs.png imgs/mnistcls/tf/denses.png &: \
    tf_predict.py $(checkpoint) $(modules)
	$(python) tf_predict.py

tf_weights/mnistcls/graph.json: save_weights.py $(checkpoint) $(modules)
	$(python) save_weights.py

nets/mnistcls.prototxt nets/mnistcls.caffemodel imgs/mnistcls/caffe-net.png &: \
    build_caffe.py tf_weights/mnistcls/graph.json $(modules)
	$(python) build_caffe.py

# a stamp, since step 6 leaves its report also where the networks differ
nets/.mnistcls.proven: caffe_predict.py nets/mnistcls.prototxt nets/mnistcls.caffemodel \
    activations/mnistcls.npz $(wildcard .pycaffe/python) $(modules)
	$(python) caffe_predict.py
	@touch $@

# the stamps come last: a killed installation does not count as done
.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "make: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + \
	    "; name another with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(pip) -r requirements.txt
	@touch $@

.venv/installed-for-tests: requirements-test.txt .venv/installed
	$(pip) -r requirements-test.txt
	@touch $@

test: .venv/installed-for-tests
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m pytest tests -q -rs

pycaffe: .pycaffe/python
.pycaffe/python:
	tools/make_pycaffe.sh

applications: .venv/installed-for-tests .pycaffe/python
	$(python) -m tests.applications

clean:
	rm -rf activations checkpoints logs nets tf_weights

help:
	@sed -n 's/^# \(make \|PYTHON\)/\1/p' Makefile
