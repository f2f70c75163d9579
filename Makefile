# Fieldstream. `make help` lists what there is; everything installs what it needs by itself.
PYTHON ?= python3.11
PY := .venv/bin/python
LOCAL := PYTHONPATH=deploy
SCANNERS := var/supply-chain/venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo up down status clean check lint types test test-secure test-superset test-cdc test-s3 \
  test-scale test-upgrade test-runbooks unit bench bench-secure bench-gateway bench-detect bench-store bench-alarms \
  pictures chaos chaos-nightly fuzz supply-chain sbom lint-deploy lock

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

install: ## install what is missing: system packages, Python packages, Kafka, Flink, the registry
	@$(LOCAL) $(PYTHON) -m local.install

demo: install ## everything, live: a simulated fleet, a recorded failure, its detection (ONCE=1: headless, checked)
	@$(LOCAL) $(PY) -m local.demo

up: install ## start the local stack with gateway and jobs; returns when it is ready (SECURE=1: TLS, least rights)
	@$(LOCAL) $(PY) -m local.stack up

down: ## stop the local stack; no process is left
	@$(LOCAL) $(PY) -m local.stack down

status: ## show every program of the local stack
	@$(LOCAL) $(PY) -m local.stack status

clean: ## stop the local stack and delete its data
	@$(LOCAL) $(PY) -m local.stack clean

lint: install ## ruff: format and rules
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .

lint-deploy: install ## the chart of every tier: rendered, schemas, policies (CRDS=folder of the operators' CRDs)
	@$(LOCAL) $(PY) -m declared.lint $(if $(CRDS),--crds $(CRDS))
	@.venv/bin/pytest -q tests/deploy

types: install ## mypy, strict
	@.venv/bin/mypy schemas/fieldstream_schemas edge/fieldstream_edge firmware-sim/fieldstream_sim \
	  central/fieldstream_central deploy/local deploy/declared tests

unit: install ## unit tests: seconds, no broker, no cluster
	@.venv/bin/pytest -q tests/unit

check: lint types unit ## what to run before every commit

test: ## everything that proves the product, on real parts
	@$(LOCAL) $(PYTHON) -m local.install --with-browser
	@mkdir -p var; rm -f var/test-whole.status; echo "Parts and the whole are tested side by side; the parts report at the end."; \
	.venv/bin/pytest tests/unit tests/fuzz tests/contract tests/integration > var/test-parts.log 2>&1 & parts=$$!; \
	{ .venv/bin/pytest -m "not slow" tests/chaos tests/end_to_end; echo $$? > var/test-whole.status; } 2>&1 \
	  | tee var/test-whole.log; \
	wait $$parts; status=$$?; cat var/test-parts.log; grep -hE "^(FAILED|ERROR) " var/test-whole.log var/test-parts.log; \
	exit $$(($$(cat var/test-whole.status) | status))

test-secure: install ## the secure stack: readings counted end to end, every forbidden act tried (docs/security.md)
	@.venv/bin/pytest tests/secure

test-superset: ## the bundle in a real Superset, in a browser (installs 640 MB)
	@$(LOCAL) $(PYTHON) -m local.install --with-browser --with-superset
	@.venv/bin/pytest tests/superset

bench: install ## how fast the centre is, Kafka to ClickHouse, beside bare Flink
	@PYTHONPATH=deploy:tests $(PY) -m bench.centre

bench-secure: install ## what encryption costs: a backlog drained by the plain stack and by the secure one
	@PYTHONPATH=deploy:tests $(PY) -m bench.secure

bench-gateway: install ## the gateway beside Telegraf: rate, CPU, memory, delay
	@$(PY) tests/bench/gateway.py

bench-detect: install ## detection on seeds never tuned on, and on half of NAB
	@$(PY) tests/bench/detect.py

bench-store: install ## a year of readings: every question's delay beside a naive table
	@PYTHONPATH=deploy:tests $(PY) -m bench.store

test-cdc: ## the asset registry: Postgres, Debezium, a whole stack, each of them broken
	@$(LOCAL) $(PYTHON) -m local.install --with-connect
	@.venv/bin/pytest tests/cdc --log-cli-level=INFO

test-s3: install ## checkpoints on a real S3-compatible server: kills, an upgrade, the bucket away
	@.venv/bin/pytest tests/s3

test-scale: install ## three brokers, two of everything else: the loss of any one, and of both registries
	@.venv/bin/pytest tests/scale --log-cli-level=WARNING

test-upgrade: install ## an earlier version under load, this one rolled out, and rolled back (OLD=commit)
	@.venv/bin/pytest tests/upgrade --log-cli-level=WARNING

test-runbooks: install ## every alert caused, its page followed, its end seen; the doctor names every defect (40 min)
	@.venv/bin/pytest tests/runbooks

pictures: install ## the pictures of docs/console.md anew, from a running demo (seven minutes; look at each)
	@$(LOCAL) $(PYTHON) -m local.install --with-browser
	@PYTHONPATH=deploy:tests $(PY) -m end_to_end.pictures docs/console

bench-alarms: install ## messages, console, a flood: what a shift feels
	@$(LOCAL) $(PYTHON) -m local.install --with-browser
	@PYTHONPATH=deploy:tests $(PY) -m bench.alarms

chaos: install ## break things on purpose and count (DRILL=name, STORM=n, SEED=n)
	@PYTHONPATH=deploy:tests $(PY) -m chaos.network
	@PYTHONPATH=deploy:tests $(PY) -m chaos.run

chaos-nightly: install ## every drill, 20 storms, the sabotage of the oracle: hours
	@$(MAKE) chaos
	@$(MAKE) chaos STORM=20
	@.venv/bin/pytest -m slow tests/chaos

fuzz: install ## ten million inputs over every decoder, a seed of the day (INPUTS=n, SEED=n): nightly
	@cd tests && ../$(PY) -m fuzz.java $(or $(INPUTS),10000000) $(or $(SEED),$$(date +%Y%m%d))
	@cd tests && ../$(PY) -m fuzz.run --inputs $(or $(INPUTS),10000000) --seed $(or $(SEED),$$(date +%Y%m%d))

supply-chain: ## static analysis and a search for secrets; AUDIT=1: known vulnerabilities too (asks the Internet)
	@$(LOCAL) $(PYTHON) -m local.install --with-supply-chain
	@$(SCANNERS)/bandit -q -r schemas edge firmware-sim central deploy -lll
	@git ls-files -z | xargs -0 $(SCANNERS)/detect-secrets-hook --no-verify
	@printf 'key = "AKIA%s"\n' IOSFODNN7ABCDEFG > var/supply-chain/planted.py
	@! $(SCANNERS)/detect-secrets-hook --no-verify var/supply-chain/planted.py > /dev/null
	@echo "nothing found; a planted secret is"
	@[ -z "$(AUDIT)" ] || $(SCANNERS)/pip-audit --strict --disable-pip --require-hashes -r constraints.txt

sbom: ## what we ship, as CycloneDX: var/sbom/python.json, var/sbom/java.json
	@$(LOCAL) $(PYTHON) -m local.install --with-supply-chain
	@mkdir -p var/sbom
	@$(SCANNERS)/cyclonedx-py environment $(PY) --output-reproducible --of JSON -o var/sbom/python.json
	@mvn -q -B org.cyclonedx:cyclonedx-maven-plugin:2.9.1:makeBom -f deploy/local/pom.xml \
	  -DoutputDirectory=$(CURDIR)/var/sbom -DoutputName=java -DoutputFormat=json

lock: ## resolve the dependencies anew into constraints.txt
	@.venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-annotate --python-version 3.11 --no-emit-package fieldstream-schemas --no-emit-package fieldstream-edge \
	  --no-emit-package fieldstream-sim --no-emit-package fieldstream-central requirements-dev.in -o constraints.txt
	@.venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-annotate --python-version 3.11 requirements-superset.in -o constraints-superset.txt
	@.venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-annotate --python-version 3.11 requirements-supply-chain.in -o constraints-supply-chain.txt
