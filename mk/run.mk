# make run, make demo: the whole of it on one machine, under run/

.PHONY: run demo

#: run              everything on 127.0.0.1:8088; PORT=, STORE=mongodb://..
run:
	@mk/packages build run \
	    $(if $(wildcard sidecar/dashboard/package.json),ui)
	@$(MAKE) -s all ui
	@exec mk/run.sh

#: demo             with `make run` up: traffic of all six categories; N=300
demo:
	@mk/demo.pl
