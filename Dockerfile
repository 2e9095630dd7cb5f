# One image with the three programs. It starts the front door, unless another one is chosen.
#   docker build -t errand . && docker run errand /worker

# The build runs on the builder's own processor and compiles for that of the image, so that
# nothing is emulated. Cloud Run's is amd64.
# https://docs.docker.com/build/building/multi-platform/#cross-compilation
# gcloud run deploy --source builds with Docker's former builder, which knows no platforms and
# no mounts of a cache. https://github.com/google-github-actions/setup-gcloud/issues/658

# build compiles with the Go of go.mod, named by its full version.
FROM --platform=${BUILDPLATFORM:-linux/amd64} golang:1.26.8-trixie AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# Without cgo and with Go's own resolver the programs need no C library, and an address
# written in a strange way (0177.0.0.1) is a name that nobody has, not loopback.
# disable_grpc_modules drops the unused gRPC half of Cloud Storage's client, a quarter of
# each program.
RUN CGO_ENABLED=0 GOOS=linux GOARCH=${TARGETARCH:-amd64} go build -tags netgo,disable_grpc_modules -trimpath -ldflags="-s -w" -o /out/ ./cardserver ./worker ./functions

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
USER 65532:65532
CMD ["/cardserver"]
