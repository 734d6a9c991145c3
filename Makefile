# make               everything: .venv, then the six steps for mnistcls, as far as they are out of date
# make test          the linter and all tests; those that need pycaffe are skipped where there is none
# make test-onednn   the op tests twice more, with OpenCV: without TensorFlow's oneDNN, and with it
# make pycaffe       real BVLC Caffe into .pycaffe/ (once; needs root and debootstrap)
# make applications  every network of keras.applications, each layer compared (half an hour)
# make fuzz N=10000  random networks from SEED=1, each layer compared; a bug is shrunk
# make rubbish N=100 spoils each kind of file so often, and looks how it is told
# make killed N=100  kills each step so often, and looks what is left
# make mutants       plants faults in the mapping, each of which the tests have to find
# make consumers     our files in OpenCV, OpenVINO and Netron, next to real Caffe (minutes);
#                    with CONSUMERS=rknn in RKNN-Toolkit2 too (5.6 GB on disk)
# make bench         every benchmark next to its rivals: benchmarks/RESULTS.md (an hour)
# make clean         removes what the six steps left, pictures apart; environments stay
# PYTHON=...         the Python, 3.11 or newer, that .venv is made of (default: python3)
# PYTHON311=...      the Python 3.11 that OpenVINO and RKNN-Toolkit2 need (default: PYTHON)

PYTHON ?= python3
PYTHON311 ?= $(PYTHON)
SEED ?= 1
python := .venv/bin/python
pip := $(python) -m pip install -qq --disable-pip-version-check

modules := $(shell find tf2caffe models -name "*.py") .venv/installed
# training takes minutes, so it is run again only for what it imports
training := $(wildcard models/*.py data/*.npz) \
    $(addprefix tf2caffe/,cli.py failure.py files.py paths.py frontend/tf_import.py \
    pictures/figures.py) $(wildcard tf2caffe/training/*.py)

# a stamp beside it, since train.py leaves a whole checkpoint after every epoch
checkpoint := checkpoints/mnistcls.keras checkpoints/.mnistcls.trained

.PHONY: all test test-onednn pycaffe applications consumers bench fuzz rubbish killed mutants clean help
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

nets/mnistcls.prototxt nets/mnistcls.caffemodel \
    imgs/mnistcls/caffe-net.png imgs/mnistcls/caffe-net.svg &: \
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

# which kernels TensorFlow takes depends on the processor, and on this setting
test-onednn: .venv/installed-for-tests
	for setting in 0 1; do \
	    TF_ENABLE_ONEDNN_OPTS=$$setting $(python) -m pytest -q \
	        -k "not pycaffe and (test_ops or test_crashes or test_composition)" \
	        tests/test_ops.py tests/test_crashes.py tests/test_deploy.py || exit; \
	done

pycaffe: .pycaffe/python
.pycaffe/python:
	tools/make_pycaffe.sh

applications: .venv/installed-for-tests .pycaffe/python
	$(python) -m tests.applications

fuzz: .venv/installed-for-tests .pycaffe/python
	$(python) -m tests.fuzz -n $(or $(N),10000) --seed $(SEED)

rubbish: .venv/installed-for-tests
	RUBBISH=$(or $(N),100) $(python) -m pytest tests/test_rubbish.py -q -s

killed: .venv/installed-for-tests
	KILLED=$(or $(N),100) $(python) -m pytest tests/test_killed.py -q -s

mutants: .venv/installed-for-tests .pycaffe/python
	$(python) -m tests.mutants

comma := ,
empty :=
tools := openvino netron $(CONSUMERS)
consumers: $(tools:%=.consumers/%/installed) .venv/installed-for-tests .pycaffe/python
	$(python) -m consumers.matrix \
	    --consumers opencv$(subst $(empty) $(empty),$(comma),$(tools:%=,%))

# each in an environment of its own: what they pin does not go together
.consumers/%/installed: consumers/requirements-%.txt
	@$(PYTHON311) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and \
	    "make: $* needs Python 3.11, this is " + sys.version.split()[0] + \
	    "; name one with make consumers PYTHON311=...")'
	$(PYTHON311) -m venv --clear .consumers/$*
	.consumers/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

benchmarks := startup conversion linear deploy training
bench: .venv/installed .pycaffe/python .rivals/tf2onnx/installed
	$(foreach name,$(benchmarks),$(python) -m benchmarks.$(name) &&) true

.rivals/tf2onnx/installed: benchmarks/requirements-tf2onnx.txt
	$(PYTHON) -m venv .rivals/tf2onnx
	.rivals/tf2onnx/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

clean:
	rm -rf activations checkpoints logs nets tf_weights

help:
	@sed -n '/^$$/q; s/^# //p' Makefile
