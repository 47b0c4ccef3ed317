/* What `colc probe` has a device time: a model with the instructions of transformers and residual networks. */
#ifndef COL_FRONTEND_PROBE_MODELS_H
#define COL_FRONTEND_PROBE_MODELS_H

#include "ir/base/arena.h"
#include "ir/base/status.h"

/* Compiles the model for the target, in bf16 and in fp32; the plans are files without names (frontend/unnamed.h). */
enum { COL_PROBE_PLANS = 2 };
COL_MUST_USE col_status col_probe_plans(const char *target, col_arena *arena,
                                        const char *out_paths[COL_PROBE_PLANS]);

#endif
