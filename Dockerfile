# Small and without root: asyncgg in a virtual environment, the command as entry point.
#   docker build -t asyncgg .
#   docker run --rm -v "$PWD:/work" -v "$HOME/.aws:/home/asyncgg/.aws:ro" asyncgg plan fleet.csv --region eu-west-1
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY asyncgg ./asyncgg
RUN python -m venv /opt/asyncgg \
 && /opt/asyncgg/bin/pip install --no-cache-dir --disable-pip-version-check ".[fast]"

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home asyncgg && install -d -o asyncgg -g asyncgg /work
COPY --from=build /opt/asyncgg /opt/asyncgg
ENV PATH="/opt/asyncgg/bin:$PATH" PYTHONUNBUFFERED=1
USER asyncgg
WORKDIR /work
ENTRYPOINT ["asyncgg"]
CMD ["--help"]
