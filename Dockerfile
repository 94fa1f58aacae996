# docker build -t microprint . && docker run --rm -p 8888:8888 microprint
# JupyterHub can start it as it is: it holds jupyterhub-singleuser, of the release that JUPYTERHUB names (the hub's own).
# PyPI's torch for Linux on x86 brings CUDA. The processor alone needs a fifth of that: name an index of CPU wheels by
# --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL
ARG JUPYTERHUB=">=5"
ENV PIP_NO_CACHE_DIR=1
RUN useradd --create-home --uid 1000 student
WORKDIR /home/student/microprint
COPY constraints.txt .
RUN pip install -c constraints.txt torch
COPY --chown=student . .
RUN pip install -c constraints.txt -e . "jupyterhub${JUPYTERHUB}" && chown student .
USER student
RUN python -m microprint fetch-vgg19
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--ServerApp.root_dir=/home/student/microprint"]
