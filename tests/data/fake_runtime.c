// SPDX-License-Identifier: MPL-2.0
// A library that says it is ONNX Runtime, of the version VERSION (null if that is 0), but has no interface; with NOTHING
// it does not even have the struct that says so. tests/runtime.rs and tests/errors.rs compile it.

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
  return VERSION;
}

const struct base *
OrtGetApiBase (void)
{
  static const struct base base = { get_api, get_version };
#ifdef NOTHING
  return 0;
#endif
  return &base;
}
