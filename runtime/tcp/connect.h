/* What the environment says of this process and the others, and the connections of rank 0 with all. */
#ifndef COL_RUNTIME_TCP_CONNECT_H
#define COL_RUNTIME_TCP_CONNECT_H

#include "runtime/tcp/tcp.h"

/* Sockets that do not block: of rank 0 one for each rank, its own -1; of another rank that to rank 0. `sockets` has room
 * for as many; those that could not be had are -1. The caller closes them, also after an error. */
COL_MUST_USE col_status col_tcp_connect(const col_tcp_place *place, double timeout, int *sockets);

#endif
