/* The CPU device: an arena of anonymous memory, generated kernels from the plan's ELF objects, oneDNN for
 * matrix products and convolutions, and the kernels of attention.c, pool.c and move.c. Every instruction is
 * prepared at open; running a program is a walk over an array. */
#define _GNU_SOURCE
#include "runtime/cpu/cpu.h"

#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ir/base/str.h"
#include "runtime/pieces.h"
#include "runtime/stream.h"

typedef struct prepared {
    const col_plan_instruction *instruction;
    void **args; /* addresses of the reads, then of the writes */
    union {
        cpu_kernel kernel;
        cpu_matmul *matmul;
        cpu_conv *conv;
    };
} prepared;

typedef struct prepared_program {
    const col_plan_program *program;
    prepared *instructions;
} prepared_program;

struct col_device {
    const col_plan *plan;
    col_device_options options;
    col_arena *memory;
    int threads;
    unsigned char *arena;
    cpu_code *code;
    cpu_dnnl *dnnl;  /* NULL: no convolutions */
    void *workspace; /* of convolutions, which run one at a time */
    prepared_program *programs;
    col_stream *stream; /* NULL: no program starts a collective */
};

static col_status prepare_convolution(col_device *device, const col_plan_instruction *in, cpu_conv **out_conv)
{
    if (!device->dnnl) COL_TRY(cpu_dnnl_open(device->memory, device->threads, &device->dnnl));
    return cpu_conv_prepare(device->dnnl, device->memory, in, out_conv);
}

static col_status prepare(col_device *device, const col_plan_instruction *in, prepared *out)
{
    out->instruction = in;
    out->args = COL_NEW_ARRAY(device->memory, void *, in->n_reads + in->n_writes);
    for (size_t i = 0; i < in->n_reads; i++) out->args[i] = device->arena + in->reads[i]->offset;
    for (size_t i = 0; i < in->n_writes; i++)
        out->args[in->n_reads + i] = device->arena + in->writes[i]->offset;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL:
        return cpu_code_find(device->code, in->kernel->object, in->kernel->symbol, &out->kernel);
    case COL__PLAN__INSTRUCTION__KIND_MATMUL:
        return cpu_matmul_prepare(device->memory, device->threads, in, &out->matmul);
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: return prepare_convolution(device, in, &out->conv);
    case COL__PLAN__INSTRUCTION__KIND_POOL: return cpu_pool_check(in);
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return cpu_attention_check(in);
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: return cpu_scatter_add_check(in);
    default: return NULL;
    }
}

static int available_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    return COL_MAX(CPU_COUNT(&set), 1);
}

static void cpu_close(col_device *device)
{
    if (!device) return;
    col_stream_close(device->stream);
    cpu_code_unload(device->code);
    cpu_dnnl_close(device->dnnl);
    free(device->workspace);
    if (device->arena) munmap(device->arena, device->plan->arena_bytes);
    col_arena_destroy(device->memory);
    free(device);
}

/* Bytes that the process can have: the machine's, or less where its control group (v2, v1) says so. */
static uint64_t memory_limit(void)
{
    static const char *const groups[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < COL_COUNT(groups); i++) {
        unsigned long long bytes;
        FILE *file = fopen(groups[i], "r");
        if (!file) continue;
        if (fscanf(file, "%llu", &bytes) == 1 && bytes) limit = COL_MIN(limit, (uint64_t)bytes);
        fclose(file);
    }
    return limit;
}

static col_status allocate_arena(col_device *device)
{
    uint64_t bytes = device->plan->arena_bytes;
    if (!bytes) return NULL;
    char human[COL_HUMAN_SIZE];
    char available[COL_HUMAN_SIZE];
    double all = (double)bytes * COL_MAX(device->options.sharing, 1);
    if (all > (double)memory_limit()) {
        return col_error_make(COL_BAD_INPUT,
                              "the plan needs %s for tensors, and this machine has %s: use a smaller model, "
                              "batch or sequence, or a machine with more memory",
                              col_format_bytes(human, all),
                              col_format_bytes(available, (double)memory_limit()));
    }
    void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) {
        return col_error_from_errno(errno, "cannot allocate %s for tensors",
                                    col_format_bytes(human, (double)bytes));
    }
    madvise(arena, bytes, MADV_HUGEPAGE);
    device->arena = arena;
    return NULL;
}

static col_status allocate_workspace(col_device *device)
{
    enum { ALIGNMENT = 64 };
    size_t bytes = device->dnnl ? cpu_dnnl_workspace(device->dnnl) : 0;
    if (!bytes) return NULL;
    device->workspace = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (device->workspace) return NULL;
    char human[COL_HUMAN_SIZE];
    return col_error_make(COL_DEVICE, "cannot allocate %s for the library's convolutions",
                          col_format_bytes(human, (double)bytes));
}

static col_status prepare_all(col_device *device)
{
    const col_plan *plan = device->plan;
    COL_TRY(allocate_arena(device));
    COL_TRY(cpu_code_load(plan, &device->code));
    device->programs = COL_NEW_ARRAY(device->memory, prepared_program, plan->n_programs);
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        prepared *list = COL_NEW_ARRAY(device->memory, prepared, program->n_instructions);
        for (size_t i = 0; i < program->n_instructions; i++)
            COL_TRY(prepare(device, program->instructions[i], &list[i]));
        device->programs[p] = (prepared_program){program, list};
    }
    COL_TRY(allocate_workspace(device));
    return col_stream_open(plan, device->options.comm, &device->stream);
}

static col_status cpu_open(const col_plan *plan, const col_device_options *options, col_device **out_device)
{
    col_device *device = calloc(1, sizeof *device);
    if (!device) col_out_of_memory(0);
    COL_ASSERT(options->comm || !plan->n_mesh);
    device->plan = plan;
    device->options = *options;
    device->memory = col_arena_create();
    device->threads = options->threads ? options->threads : available_threads();
    device->threads = COL_MAX(device->threads / COL_MAX(options->sharing, 1), 1);
    omp_set_num_threads(device->threads);
    col_status status = prepare_all(device);
    if (status)
        cpu_close(device);
    else
        *out_device = device;
    return status;
}

/* Enough iterations of a kernel to pay for waking a thread: about 20 us of memory traffic at 10 GB/s. */
static int64_t grain_of(const col_plan_instruction *in)
{
    double bytes_each = in->bytes / COL_MAX((double)in->kernel->range, 1);
    double work_each = COL_MAX(bytes_each, in->flops / COL_MAX((double)in->kernel->range, 1));
    return (int64_t)(200e3 / COL_MAX(work_each, 1)) + 1;
}

typedef struct kernel_job {
    cpu_kernel kernel;
    void *const *args;
} kernel_job;

static void run_kernel(void *context, int64_t begin, int64_t end)
{
    kernel_job *job = context;
    job->kernel(job->args, begin, end);
}

static void take_block(const col_device *device, const prepared *p)
{
    const Col__Plan__Shard *how = p->instruction->shard;
    const col_comm *comm = device->options.comm;
    col_group group = col_group_of(&comm->mesh, comm->rank, how->n_axes, how->axes);
    col_piece piece = col_piece_of(p->instruction, group.size);
    int64_t start = group.self * piece.from_step * (int64_t)piece.element;
    col_piece_copy(&piece, (const char *)p->args[0] + start, p->args[1]);
}

/* What a started collective wrote is there: tells the observer when it ran. */
static col_status wait_for(const col_device *device, const prepared *list, uint32_t start)
{
    double begin, end;
    COL_TRY(col_stream_wait(device->stream, start, &begin, &end));
    if (device->options.observe)
        device->options.observe(device->options.context, list[start].instruction, begin, end);
    return NULL;
}

/* Instruction `index` of a program's list. */
static col_status execute(const col_device *device, const prepared *list, size_t index)
{
    const prepared *p = &list[index];
    const col_plan_instruction *in = p->instruction;
    int threads = device->threads;
    col_comm *comm = device->options.comm;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL:
        cpu_parallel_for(threads, in->kernel->range, grain_of(in), run_kernel,
                         &(kernel_job){p->kernel, p->args});
        break;
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: cpu_matmul_run(p->matmul, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: cpu_conv_run(p->conv, device->workspace, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_POOL: cpu_pool(threads, in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
        (in->attention->backward ? cpu_attention_backward : cpu_attention_forward)(threads, in, p->args);
        break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: cpu_attention_cached(threads, in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: cpu_scatter_add(threads, in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE: cpu_update_slice(in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_COPY: cpu_copy(threads, in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_FILL: cpu_fill(threads, in, p->args); break;
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE:
        return col_stream_collective(device->stream, comm, in, index, p->args[0], p->args[1]);
    case COL__PLAN__INSTRUCTION__KIND_WAIT: return wait_for(device, list, in->wait->start);
    case COL__PLAN__INSTRUCTION__KIND_SHARD: take_block(device, p); break;
    default: COL_PANIC("instruction '%s' passed the verifier with an unknown kind", in->name);
    }
    return NULL;
}

/* It has only begun: its wait is what writes, and what has a time. */
static bool is_started(const col_plan_instruction *in)
{
    return in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE && in->collective->started;
}

static bool wrote_non_finite(const prepared *p)
{
    const col_plan_instruction *in = p->instruction;
    for (size_t i = 0; i < in->n_writes; i++) {
        if (cpu_has_non_finite(in->writes[i], p->args[in->n_reads + i])) return true;
    }
    return false;
}

static col_status cpu_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    const prepared *list = NULL;
    for (size_t p = 0; p < device->plan->n_programs; p++) {
        if (device->programs[p].program == program) list = device->programs[p].instructions;
    }
    COL_ASSERT(list || !program->n_instructions);
    if (out_bad) *out_bad = -1;
    omp_set_num_threads(1); /* oneDNN's, where it is called; parallel loops here say their own */
    col_status status = NULL;
    for (size_t i = 0; i < program->n_instructions && !status; i++) {
        double begin = device->options.observe ? col_seconds() : 0;
        status = execute(device, list, i);
        if (is_started(program->instructions[i])) continue;
        if (device->options.observe)
            device->options.observe(device->options.context, program->instructions[i], begin, col_seconds());
        if (out_bad && *out_bad < 0 && wrote_non_finite(&list[i])) *out_bad = (int64_t)i;
    }
    col_stream_settle(device->stream);
    omp_set_num_threads(device->threads);
    return status;
}

static col_status cpu_write(col_device *device, uint64_t offset, const void *data, uint64_t bytes)
{
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (bytes) memcpy(device->arena + offset, data, bytes);
    return NULL;
}

static col_status cpu_read(col_device *device, uint64_t offset, void *data, uint64_t bytes)
{
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (bytes) memcpy(data, device->arena + offset, bytes);
    return NULL;
}

static void *cpu_host_arena(col_device *device)
{
    return device->arena;
}

const col_device_type col_device_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .run = cpu_run,
    .write = cpu_write,
    .read = cpu_read,
    .host_arena = cpu_host_arena,
};
