/* How fast this machine reads memory: the bound of generating text one token at a time. */
#ifndef COL_RUNTIME_BANDWIDTH_H
#define COL_RUNTIME_BANDWIDTH_H

#include "runtime/session.h"

/* Seconds to read every parameter once where it lies, with as many threads as the session has: the best of a
 * few passes. 0 when the host cannot read the device's memory. */
double col_weights_read_seconds(const col_session *session, uint64_t *out_bytes);

#endif
