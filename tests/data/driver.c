// SPDX-License-Identifier: MPL-2.0
// A library that answers like the NVIDIA driver of a machine with one GPU, or with the error RESULT.
// src/model/gpu/driver.rs compiles it.

#include <string.h>

int
cuInit (unsigned flags)
{
  (void) flags;
  return RESULT;
}

int
cuDeviceGetCount (int *count)
{
  *count = 1;
  return 0;
}

int
cuDeviceGet (int *device, int ordinal)
{
  *device = ordinal;
  return 0;
}

int
cuDeviceGetName (char *name, int length, int device)
{
  (void) device;
  strncpy (name, "NVIDIA Test", length);
  return 0;
}

int
cuDeviceGetAttribute (int *value, int attribute, int device)
{
  (void) device;
  *value = attribute == 75 ? 9 : 1;
  return 0;
}

int
cuDriverGetVersion (int *version)
{
  *version = 13000;
  return 0;
}
