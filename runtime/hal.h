/* What a device back end implements: it holds one arena, prepares a plan's instructions once, and runs its
 * programs. runtime/null is the one to copy for a new back end; tests/cts is what it must pass. */
#ifndef COL_RUNTIME_HAL_H
#define COL_RUNTIME_HAL_H

#include "ir/base/arena.h"
#include "ir/plan/plan.h"
#include "runtime/comm.h"

typedef struct col_device col_device;

typedef struct col_device_options {
    int threads;    /* CPU threads of all devices of this host; 0: as many as the process may use */
    int sharing;    /* devices that share them, and the host's memory; 0: this one alone */
    int place;      /* of this one among them, from 0 on: which of the host's GPUs it is */
    col_comm *comm; /* this rank's, the caller's; NULL for a plan without a mesh */
    /* Called after every instruction, at the latest at the program's end, with the seconds (col_seconds) at which it
     * began and ended, if not NULL. Always on the thread that runs the program. */
    void (*observe)(void *context, const col_plan_instruction *instruction, double begin, double end);
    void *context;
} col_device_options;

/* Seconds since some moment; only differences mean something. */
double col_seconds(void);

/* The last two functions may be NULL. */
typedef struct col_device_type {
    const char *name; /* the plan's target */
    /* Allocates `plan->arena_bytes`, zeroed, and prepares every instruction; the plan is verified and
     * outlives the device. Fails with COL_DEVICE before anything is half-made. */
    col_status (*open)(const col_plan *plan, const col_device_options *options, col_device **out_device);
    void (*close)(col_device *device);
    /* Runs a program to its end. With `out_bad` it looks at what every instruction writes; `*out_bad` is the
     * index of the first that wrote a NaN or an infinity, or -1. The program still runs to its end: other
     * ranks count on this one. Fails with what a collective fails with. */
    col_status (*run)(col_device *device, const col_plan_program *program, int64_t *out_bad);
    /* Copies between host memory and the arena; the range lies in the arena. */
    col_status (*write)(col_device *device, uint64_t offset, const void *data, uint64_t bytes);
    col_status (*read)(col_device *device, uint64_t offset, void *data, uint64_t bytes);
    /* Bytes of the memory of the device that this process may use first; NULL where that is the host's. */
    col_status (*memory)(uint64_t *out_bytes);
    /* The host's address of the arena where the host can use it directly, else NULL. */
    void *(*host_arena)(col_device *device);
    /* Zeroed host memory from which writing is fast, until the device is closed; NULL: there is no such. */
    void *(*host_memory)(col_device *device, uint64_t bytes);
    /* Begins to bring bytes to the device that the next write from there will want; they do not change until then, or
     * until `data` is NULL, which takes it back. May be called while another thread runs a program. */
    col_status (*stage)(col_device *device, const void *data, uint64_t bytes);
} col_device_type;

/* The back end of that name. CUDA's is loaded from its shared module, colc_cuda.so. COL_DEVICE for a name
 * that this build does not know, or whose module cannot be opened. */
COL_MUST_USE col_status col_device_type_find(const char *name, const col_device_type **out_type);

extern const col_device_type col_device_null;
extern const col_device_type col_device_cpu;

#endif
