# make install into DESTDIR/PREFIX, make deb into build/deb

PREFIX      ?= /usr/local
SYSCONFDIR  ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
MODULESDIR  ?= /usr/lib/nginx/modules
UNITDIR     ?= /lib/systemd/system
SHARE        = $(DESTDIR)$(PREFIX)/share/integrationd
ETC          = $(DESTDIR)$(SYSCONFDIR)

.PHONY: install install-module install-sidecar deb

#: install          into DESTDIR/PREFIX=/usr/local: module, sidecar, samples
install: install-module install-sidecar

install-module: module
	install -D -m 644 $(BUILD)/ngx_http_capture_module.so \
	    $(DESTDIR)$(MODULESDIR)/ngx_http_capture_module.so

# what an administrator may have changed is not overwritten
install-sidecar: sidecar ui
	install -D -m 755 $(BUILD)/integrationd \
	    $(DESTDIR)$(PREFIX)/bin/integrationd
	install -D -m 755 $(BUILD)/integrationd-jq \
	    $(DESTDIR)$(PREFIX)/bin/integrationd-jq
	install -d $(ETC)/integrationd $(SHARE)/conf
	install -D -m 644 man/integrationd.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man8/integrationd.8
	install -m 644 conf/*.conf conf/integrationd.service \
	    conf/integrationd.logrotate $(SHARE)/conf/
	install -m 644 sidecar/hl7_map.jq sidecar/openapi.yaml $(SHARE)/
	test -e $(ETC)/integrationd/integrationd.conf || install -m 640 \
	    conf/integrationd.conf $(ETC)/integrationd/integrationd.conf
	test -e $(ETC)/integrationd/dashboard.conf || \
	    sed -e 's|@API@|/run/integrationd/api.sock|' \
	        -e 's|@ROOT@|$(PREFIX)/share/integrationd|' \
	        conf/dashboard.conf >$(ETC)/integrationd/dashboard.conf
	test -e $(ETC)/integrationd/fusion.conf || \
	    sed -e 's|@API@|/run/integrationd/api.sock|' \
	        conf/fusion.conf >$(ETC)/integrationd/fusion.conf
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/bin/|$(PREFIX)/bin/|; s|/etc/|$(SYSCONFDIR)/|' \
	    conf/integrationd.service \
	    >$(DESTDIR)$(UNITDIR)/integrationd.service
	install -D -m 644 conf/integrationd.logrotate \
	    $(ETC)/logrotate.d/integrationd
	if [ -f build/dashboard/index.html ]; then \
	    install -d $(SHARE)/dashboard && \
	    cp -r build/dashboard/. $(SHARE)/dashboard/; \
	fi

#: deb              libnginx-mod-http-capture and integrationd in build/deb
deb:
	mk/packages build run deb \
	    $(if $(wildcard sidecar/dashboard/package.json),ui)
	$(MAKE) ui
	rm -rf build/deb && mkdir -p build/deb/src
	git ls-files -z | xargs -0 cp --parents -t build/deb/src
	if [ -f build/dashboard/index.html ]; then \
	    mkdir -p build/deb/src/build && touch build/dashboard.npm && \
	    cp -r build/dashboard build/dashboard.npm build/deb/src/build/ && \
	    touch build/deb/src/build/dashboard/index.html; \
	fi
	cd build/deb/src && dpkg-buildpackage -b -us -uc >../build.log 2>&1 \
	    || { tail -n 20 ../build.log; exit 1; }
	rm -rf build/deb/src
	ls build/deb/*.deb
