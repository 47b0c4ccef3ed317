/* Activations. All take their inference from float_unary (ir/ops/elementwise.c). */
#include "ir/ops/family.h"

#include <math.h>
