# Small and without root: asyncgg in a virtual environment, the command as entry point.
#   docker build -t asyncgg .
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" -v "$HOME/.aws:/aws:ro" \
#     -e AWS_CONFIG_FILE=/aws/config -e AWS_SHARED_CREDENTIALS_FILE=/aws/credentials asyncgg plan fleet.csv
# `--user` so that the journal it leaves in the mounted folder is yours.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/asyncgg
COPY requirements.lock ./
RUN /opt/asyncgg/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY asyncgg ./asyncgg
RUN /opt/asyncgg/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home asyncgg && install -d -o asyncgg -g asyncgg /work
COPY --from=build /opt/asyncgg /opt/asyncgg
ENV PATH="/opt/asyncgg/bin:$PATH" PYTHONUNBUFFERED=1
USER asyncgg
WORKDIR /work
ENTRYPOINT ["asyncgg"]
CMD ["--help"]
