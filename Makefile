# make demo     grade a class in all eight assignments: tables, a feedback page, grades.csv
# make test     check style, types and imports, and run all tests
# make verify   test every assignment on its own answers; commit graders/*/verified.json
# make hostile  run every attack of tests/hostile/, family by family: contained, leaked, left over
# make bench    compare classes and cheats with stock nbgrader; measure records, a cluster, its scheduler (an hour)
# make torture  survive two hundred kills and two thousand made-up notebooks (half an hour)
# make release  make the students' notebooks again from source/
# make lock     make requirements.lock again from pyproject.toml

.PHONY: demo test verify hostile bench torture release lock
BIN = .venv/bin
ASSIGNMENTS = $(notdir $(patsubst %/,%,$(wildcard source/*/)))

demo: .venv/ready
	@$(BIN)/python demo/run.py

test: .venv/ready .venv/browser
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest

verify: .venv/ready
	@$(BIN)/nbmark verify --all

hostile: .venv/ready
	@$(BIN)/python tests/hostile/suite.py

bench: .venv/ready
	@$(BIN)/python bench/speed.py
	@$(BIN)/python bench/records.py
	@$(BIN)/python bench/cluster.py
	@$(BIN)/python bench/scheduler.py
	@$(BIN)/python bench/cheats.py

torture: .venv/ready
	@$(BIN)/python bench/kills.py
	@$(BIN)/python bench/fuzz.py

release: .venv/ready
	@for assignment in $(ASSIGNMENTS); do $(BIN)/nbgrader generate_assignment $$assignment --force || exit 1; done

lock: .venv/ready
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    -q -o requirements.lock

.venv/ready: setup.sh requirements.lock pyproject.toml
	@./setup.sh

.venv/browser: .venv/ready
	@./setup.sh browser
