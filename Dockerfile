# UICI's daemon in an image: no compiler, no pip, no root. docker build -t uici .
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /source
COPY constraints.txt .
# Every package is checked against its published hashes; what only the tests need stays behind in this stage.
RUN pip download --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r constraints.txt -d /packages
COPY . .
ARG EXTRAS=docker,kubernetes
RUN pip wheel --quiet --no-cache-dir --no-index --find-links /packages --no-deps -w /packages . \
 && python -m venv --without-pip /opt/uici \
 && pip --python /opt/uici/bin/python install --quiet --no-cache-dir --no-index --find-links /packages "uici[${EXTRAS}]" \
 && /opt/uici/bin/python -m compileall -q -j 0 /opt/uici/lib

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 10001 uici && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent uici \
 && install -d -o uici -g uici -m 0700 /var/lib/uici /var/cache/uici
COPY --from=build /opt/uici /opt/uici
ENV PATH=/opt/uici/bin:$PATH PYTHONUNBUFFERED=1 STATE_DIRECTORY=/var/lib/uici CACHE_DIRECTORY=/var/cache/uici
USER 10001:10001
EXPOSE 8080
VOLUME /var/lib/uici
# The catalog is mounted there; an image without one starts nothing.
ENTRYPOINT ["uici"]
CMD ["serve", "--config", "/etc/uici"]
