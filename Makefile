.DEFAULT_GOAL := help
.PHONY: help image demo demo-down test lint bench deny

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

image: ## build the image supakeep:dev
	docker/image supakeep:dev

demo: ## a Supabase look-alike with supakeep beside it: takes a backup, verifies it, stays up
	deploy/demo/up

demo-down: ## remove all that the demo made
	deploy/demo/down

test: ## every test, with whatever it needs
	tests/run

lint: ## formatting, clippy, shellcheck
	tests/lint

bench: ## measure speed and memory (takes a while)
	tests/bench/run

deny: ## licences, advisories and sources of the dependencies
	@PATH="$$PWD/target/tools/bin:$$PATH"; command -v cargo-deny >/dev/null || { echo 'install it first: cargo install --locked cargo-deny' >&2; exit 1; }; \
	cargo deny check
