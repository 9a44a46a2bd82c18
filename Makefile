# Every target is one plain command; `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --durations=20
# Three processes test side by side on two cores, two of them with a browser: more browsers and servers get in each other's
# way. What needs neither lets the others go first, because a page that is starved of the processor shows its states late.
PAGES := $(addprefix tests/browser/,test_every_page.py test_class.py test_clip_batch.py) tests/app tests/contract tests/parity

.DEFAULT_GOAL := help
.PHONY: help run test space lint format docs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# The stamp is newer than the requirements exactly when they are installed.
$(VENV)/.run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

run: $(VENV)/.run ## install what is missing and open the hub on http://127.0.0.1:7860
	$(BIN)/python app.py

test: $(VENV)/.dev ## install what is missing, then lint, check types and run every test, those with a browser beside the others
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	nice $(BIN)/mypy > .types.log 2>&1 & types=$$!; \
	$(PYTEST) $(PAGES) > .pages-tests.log 2>&1 & pages=$$!; \
	$(PYTEST) tests/browser $(PAGES:%=--ignore=%) > .browser-tests.log 2>&1 & browser=$$!; \
	nice $(PYTEST) --ignore=tests/browser $(PAGES:%=--ignore=%); others=$$?; \
	wait $$browser; shown=$$?; cat .browser-tests.log; \
	wait $$pages; seen=$$?; cat .pages-tests.log; \
	wait $$types; typed=$$?; cat .types.log; exit $$((others + shown + seen + typed))

space: $(VENV)/.dev ## install exactly requirements.txt into .venv/space and test the app in it as a Space runs it
	test -x $(VENV)/space/bin/python || $(PYTHON) -m venv $(VENV)/space
	$(VENV)/space/bin/python -m pip install --quiet --requirement requirements.txt
	SPACE_PYTHON=$(VENV)/space/bin/python $(BIN)/python -m pytest tests/app/test_space.py

lint: $(VENV)/.dev ## lint and type check only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## let ruff rewrite the layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.run ## make the generated tables of the READMEs and docs/ again
	$(BIN)/python -m demos.catalog --write
	$(BIN)/python -m core.checkpoints table --write
	$(BIN)/python -m core.classroom.report --write

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
