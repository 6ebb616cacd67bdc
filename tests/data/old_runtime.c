// SPDX-License-Identifier: MPL-2.0
// A library that says it is ONNX Runtime 1.16.3. tests/runtime.rs compiles it.

struct base {
  const void *(*get_api) (unsigned version);
  const char *(*get_version) (void);
};

static const void *
get_api (unsigned version)
{
  (void) version;
  return 0;
}

static const char *
get_version (void)
{
  return "1.16.3";
}

const struct base *
OrtGetApiBase (void)
{
  static const struct base base = { get_api, get_version };
  return &base;
}
