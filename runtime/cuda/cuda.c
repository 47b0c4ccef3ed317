/* The CUDA device: one arena in the memory of one GPU, kernels from the plan's PTX, and libraries for
 * products and convolutions. Every instruction is prepared at open. A program that has run once is captured
 * as one graph, which then is launched for it; where an observer wants to know when its instructions ran, they are launched
 * one after another, and where their results are looked at, they run one at a time. */
#include "runtime/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/str.h"

enum {
    LEAST_MAJOR = 8,      /* compute capability */
    LEAST_DRIVER = 12010, /* takes PTX ISA 8.1 */
    RESERVE = 256 << 20,  /* bytes for libraries and workspaces */
    LOG_BYTES = 4096,
    SMALL_THREADS = 512, /* of a small kernel for each multiprocessor, which takes 2048 */
};

typedef struct prepared_program {
    const col_plan_program *program;
    cuda_call *calls;
    bool has_run, is_plain; /* is_plain: the driver takes no graph of it */
    cudaGraphExec_t graph;  /* NULL: not yet */
    cuda_watch *watch;      /* NULL: not yet */
} prepared_program;

/* What is brought beside the program, to be copied where it belongs when the program has ended. */
typedef struct cuda_staging {
    cudaStream_t stream; /* NULL: never yet */
    cudaEvent_t there;
    unsigned char *memory; /* of the GPU */
    uint64_t room, bytes;
    const unsigned char *data; /* the host's; NULL: nothing is brought */
} cuda_staging;

struct col_device {
    const col_plan *plan;
    col_device_options options;
    int gpu;
    cuda_context context;
    unsigned char *arena;
    cudaLibrary_t library; /* the plan's kernels; NULL: it has none */
    int32_t *flag;         /* of cuda_look */
    COL_VEC(void *) host_memory;
    cuda_staging staging;
    prepared_program *programs;
};

/* The machine. */

static col_status check_driver(int *out_count)
{
    int count = 0, version = 0;
    cudaDriverGetVersion(&version);
    if (!version) {
        return col_error_make(
            COL_DEVICE, "this machine has no NVIDIA driver (cudaDriverGetVersion finds none): run the plan "
                        "on one that has, or compile the model with --target cpu");
    }
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver || version < LEAST_DRIVER) {
        return col_error_make(
            COL_DEVICE, "the NVIDIA driver is too old: it knows CUDA %d.%d, and %d.%d is needed; update it",
            version / 1000, version % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    }
    if (error == cudaErrorNoDevice || (!error && !count)) {
        return col_error_make(COL_DEVICE,
                              "this machine has no NVIDIA GPU that this process may use: see nvidia-smi and "
                              "CUDA_VISIBLE_DEVICES, or compile the model with --target cpu");
    }
    *out_count = count;
    return error ? cuda_failure("finding GPUs", "cudaGetDeviceCount", error) : NULL;
}

/* "sm_90a" is for compute capability 9.0 alone, "sm_80" for 8.0 and later. */
static col_status check_processor(const col_plan *plan, int major, int minor)
{
    if (major < LEAST_MAJOR) {
        return col_error_make(COL_DEVICE,
                              "this GPU has compute capability %d.%d; %d.0 is the least that colc runs on: "
                              "run the plan on another, or "
                              "compile the model with --target cpu",
                              major, minor, LEAST_MAJOR);
    }
    for (size_t i = 0; i < plan->n_objects; i++) {
        const Col__Plan__CodeObject *object = plan->objects[i];
        if (strcmp(object->target, "ptx"))
            return col_error_make(COL_DEVICE, "the plan's code is for '%s', not for a GPU", object->target);
        int level = 0;
        char only = '\0';
        for (size_t f = 0; f < object->n_features; f++) sscanf(object->features[f], "sm_%d%c", &level, &only);
        bool fits = only == 'a' ? 10 * major + minor == level : 10 * major + minor >= level;
        if (!fits) {
            return col_error_make(COL_DEVICE,
                                  "the plan's code is for %s, and this GPU is sm_%d%d: compile the plan with "
                                  "--gpu sm_80",
                                  object->features[0], major, minor);
        }
    }
    return NULL;
}

/* Each rank takes the GPU of its place. Where a launcher shows each process one GPU alone, that is the first; so whether
 * there are enough is for the GPUs' identities to say. */
static col_status choose_gpu(col_device *device)
{
    const col_device_options *options = &device->options;
    int count = 0;
    COL_TRY(check_driver(&count));
    if (device->plan->n_mesh && !options->comm->type->watch)
        return col_error_make(COL_BAD_INPUT,
                              "GPUs need a process for each rank, and these ranks are threads");
    device->gpu = options->place % count;
    CUDA_TRY("opening the GPU", cudaSetDevice, device->gpu);
    if (!device->plan->n_mesh) return NULL;
    return cuda_link_check(options->comm, device->gpu, count);
}

static col_status check_device(col_device *device, int *out_capability)
{
    const col_plan *plan = device->plan;
    int major = 0, minor = 0, gpu;
    size_t available = 0, all = 0;
    COL_TRY(choose_gpu(device));
    gpu = device->gpu;
    CUDA_TRY("opening the GPU", cudaDeviceGetAttribute, &major, cudaDevAttrComputeCapabilityMajor, gpu);
    CUDA_TRY("opening the GPU", cudaDeviceGetAttribute, &minor, cudaDevAttrComputeCapabilityMinor, gpu);
    COL_TRY(check_processor(plan, major, minor));
    *out_capability = 10 * major + minor;
    CUDA_TRY("opening the GPU", cudaMemGetInfo, &available, &all);
    if (plan->arena_bytes + RESERVE <= available) return NULL;
    char need[COL_HUMAN_SIZE], have[COL_HUMAN_SIZE], total[COL_HUMAN_SIZE];
    return col_error_make(
        COL_DEVICE,
        "the plan needs %s for tensors and 256 MiB for libraries, and the GPU has %s free of %s: use a "
        "smaller model, batch or sequence, or end what else runs on it",
        col_format_bytes(need, (double)plan->arena_bytes), col_format_bytes(have, (double)available),
        col_format_bytes(total, (double)all));
}

/* Preparing. */

extern const unsigned char cuda_kernels_image[];

static col_status load_library(const char *what, const void *image, cudaLibrary_t *out)
{
    char log[LOG_BYTES] = "";
    enum cudaJitOption options[] = {cudaJitErrorLogBuffer, cudaJitErrorLogBufferSizeBytes};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    cudaError_t error = cudaLibraryLoadData(out, image, options, values, COL_COUNT(options), NULL, NULL, 0);
    if (!error) return NULL;
    return col_error_make(COL_DEVICE, "%s: cudaLibraryLoadData: %s%s%s", what, cudaGetErrorString(error),
                          *log ? ": " : "", log);
}

static col_status load_code(col_device *device)
{
    const col_plan *plan = device->plan;
    if (!plan->n_objects) return NULL;
    const ProtobufCBinaryData *image = &plan->objects[0]->image;
    const char *text = col_arena_strndup(device->context.memory, (const char *)image->data, image->len);
    return load_library("the plan's kernels", text, &device->library);
}

typedef struct kernel {
    cudaKernel_t kernel;
    dim3 blocks;
    void **params; /* addresses of the arguments */
} kernel;

static col_status run_kernel(const cuda_context *context, const cuda_call *call)
{
    const kernel *k = call->state;
    return cuda_launch(context, call->instruction->name, k->kernel, k->blocks,
                       call->instruction->kernel->threads, 0, k->params);
}

static col_status prepare_kernel(col_device *device, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    kernel *k = COL_NEW(device->context.memory, kernel);
    if (in->kernel->object != 0 || in->kernel->blocks < 1 || in->kernel->threads < 1)
        return col_error_make(COL_BAD_INPUT, "'%s' has no grid: the plan is not for a GPU", in->name);
    cudaError_t error = cudaLibraryGetKernel(&k->kernel, device->library, in->kernel->symbol);
    if (error)
        return col_error_make(COL_BAD_INPUT, "the plan's code has no kernel '%s': %s", in->kernel->symbol,
                              cudaGetErrorString(error));
    k->blocks = (dim3){(unsigned)in->kernel->blocks, 1, 1};
    call->is_small =
        in->kernel->blocks * in->kernel->threads <= (int64_t)SMALL_THREADS * device->context.processors;
    k->params = COL_NEW_ARRAY(device->context.memory, void *, in->n_reads + in->n_writes);
    for (size_t i = 0; i < in->n_reads + in->n_writes; i++) k->params[i] = &call->args[i];
    call->state = k;
    call->run = run_kernel;
    return NULL;
}

/* Instruction `index` of a program whose calls are `calls`. */
static col_status prepare(col_device *device, const col_plan_program *program, cuda_call *calls, size_t index)
{
    cuda_context *context = &device->context;
    const col_plan_instruction *in = program->instructions[index];
    cuda_call *call = &calls[index];
    if (index && program->instructions[index - 1] == in &&
        in->kind_case != COL__PLAN__INSTRUCTION__KIND_COLLECTIVE) {
        *call = calls[index - 1]; /* repeated as it is, to be timed */
        return NULL;
    }
    call->instruction = in;
    call->args = COL_NEW_ARRAY(context->memory, void *, in->n_reads + in->n_writes);
    for (size_t i = 0; i < in->n_reads; i++) call->args[i] = device->arena + in->reads[i]->offset;
    for (size_t i = 0; i < in->n_writes; i++)
        call->args[in->n_reads + i] = device->arena + in->writes[i]->offset;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return prepare_kernel(device, call);
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: return cuda_matmul_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: return cuda_convolution_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_POOL: return cuda_pool_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return cuda_attention_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: return cuda_scatter_add_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE: return cuda_update_slice_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_COPY: return cuda_copy_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_FILL: return cuda_fill_prepare(context, call);
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE:
        return cuda_collective_prepare(context, program, calls, index);
    case COL__PLAN__INSTRUCTION__KIND_WAIT: return cuda_wait_prepare(calls, call);
    case COL__PLAN__INSTRUCTION__KIND_SHARD: return cuda_shard_prepare(context, call);
    default: COL_PANIC("instruction '%s' passed the verifier with an unknown kind", in->name);
    }
}

static col_status allocate(const char *what, uint64_t bytes, void *out)
{
    char human[COL_HUMAN_SIZE];
    if (!bytes) return NULL;
    cudaError_t error = cudaMalloc(out, bytes);
    if (!error) return NULL;
    return col_error_make(COL_DEVICE, "cannot allocate %s for %s: cudaMalloc: %s",
                          col_format_bytes(human, (double)bytes), what, cudaGetErrorString(error));
}

col_status cuda_borrow_workspace(cuda_context *context, size_t bytes)
{
    enum { NOISE_BLOCKS = 4096, NOISE_THREADS = 256 };
    if (context->borrowed < bytes) {
        cudaFree(context->workspace);
        context->workspace = NULL;
        context->borrowed = 0;
        COL_TRY(allocate("measuring algorithms", bytes, &context->workspace));
        context->borrowed = bytes;
    }
    if (context->is_noisy || !context->arena_bytes) return NULL;
    cudaKernel_t noise;
    uint64_t words = context->arena_bytes / sizeof(uint32_t);
    COL_TRY(cuda_find_own(context, "col_noise", &noise));
    context->is_noisy = true;
    return cuda_launch(context, "measuring algorithms", noise, (dim3){NOISE_BLOCKS, 1, 1}, NOISE_THREADS, 0,
                       (void *[]){&context->arena, &words});
}

static col_status open_choices(col_device *device)
{
    struct cudaDeviceProp properties;
    CUDA_TRY("opening the GPU", cudaGetDeviceProperties, &properties, device->gpu);
    return cuda_choices_open(device->context.memory, properties.name,
                             device->plan->n_mesh ? device->options.comm : NULL, &device->context.choices);
}

/* The memory that the programs run in, when all instructions are prepared. */
static col_status settle_memory(cuda_context *context)
{
    CUDA_TRY("clearing tensors", cudaStreamSynchronize, context->stream);
    cudaFree(context->workspace);
    context->workspace = NULL;
    COL_TRY(allocate("the libraries' workspace", context->workspace_bytes, &context->workspace));
    if (context->arena_bytes)
        CUDA_TRY("clearing tensors", cudaMemsetAsync, context->arena, 0, context->arena_bytes,
                 context->stream);
    return NULL;
}

static col_status prepare_all(col_device *device)
{
    cuda_context *context = &device->context;
    const col_plan *plan = device->plan;
    int shared = 0;
    COL_TRY(check_device(device, &context->capability));
    CUDA_TRY("opening the GPU", cudaDeviceGetAttribute, &shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
             device->gpu);
    context->shared_bytes = (size_t)shared;
    CUDA_TRY("opening the GPU", cudaDeviceGetAttribute, &context->processors, cudaDevAttrMultiProcessorCount,
             0);
    CUDA_TRY("opening the GPU", cudaStreamCreateWithFlags, &context->stream, cudaStreamNonBlocking);
    COL_TRY(allocate("tensors", plan->arena_bytes, &device->arena));
    context->arena = device->arena;
    context->arena_bytes = plan->arena_bytes;
    COL_TRY(allocate("a flag", sizeof *device->flag, &device->flag));
    COL_TRY(load_library("colc's own kernels", cuda_kernels_image, &context->own));
    COL_TRY(load_code(device));
    CUDA_BLAS_TRY("opening the GPU", cublasLtCreate, &context->blas);
    COL_TRY(cuda_link_open(context, plan, device->options.comm));
    COL_TRY(open_choices(device));
    device->programs = COL_NEW_ARRAY(context->memory, prepared_program, plan->n_programs);
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        cuda_call *calls = COL_NEW_ARRAY(context->memory, cuda_call, program->n_instructions);
        for (size_t i = 0; i < program->n_instructions; i++) COL_TRY(prepare(device, program, calls, i));
        device->programs[p] = (prepared_program){.program = program, .calls = calls};
    }
    cuda_choices_save(&context->choices);
    COL_TRY(settle_memory(context));
    COL_TRY(cuda_link_reserve(context));
    CUDA_TRY("clearing tensors", cudaStreamSynchronize, context->stream);
    return NULL;
}

static void destroy_graphs(col_device *device)
{
    for (size_t p = 0; device->programs && p < device->plan->n_programs; p++) {
        if (device->programs[p].graph) cudaGraphExecDestroy(device->programs[p].graph);
        device->programs[p].graph = NULL;
    }
}

static void cuda_close(col_device *device)
{
    if (!device) return;
    cuda_context *context = &device->context;
    cudaSetDevice(device->gpu);
    destroy_graphs(device);
    for (size_t i = 0; i < context->watch_events.len; i++) cudaEventDestroy(context->watch_events.data[i]);
    cuda_link_close(context);
    for (size_t i = 0; i < context->nodes.len; i++) cudnnBackendDestroyDescriptor(context->nodes.data[i]);
    if (context->dnn) cudnnDestroy(context->dnn);
    if (context->blas) cublasLtDestroy(context->blas);
    if (device->library) cudaLibraryUnload(device->library);
    if (context->own) cudaLibraryUnload(context->own);
    cudaFree(context->workspace);
    cudaFree(device->flag);
    cudaFree(device->arena);
    cudaFree(device->staging.memory);
    if (device->staging.there) cudaEventDestroy(device->staging.there);
    if (device->staging.stream) cudaStreamDestroy(device->staging.stream);
    for (size_t i = 0; i < device->host_memory.len; i++) cudaFreeHost(device->host_memory.data[i]);
    if (context->stream) cudaStreamDestroy(context->stream);
    col_arena_destroy(context->memory);
    free(device);
}

static col_status cuda_open(const col_plan *plan, const col_device_options *options, col_device **out_device)
{
    col_device *device = calloc(1, sizeof *device);
    if (!device) col_out_of_memory(0);
    device->plan = plan;
    device->options = *options;
    device->context.memory = col_arena_create();
    col_status status = prepare_all(device);
    if (status)
        cuda_close(device);
    else
        *out_device = device;
    return status;
}

/* Running. */

static col_status run_calls(const col_device *device, const prepared_program *p)
{
    for (size_t i = 0; i < p->program->n_instructions; i++)
        COL_TRY(p->calls[i].run(&device->context, &p->calls[i]));
    return NULL;
}

col_status cuda_finish(const cuda_context *context, const char *where)
{
    if (context->link) return cuda_link_wait(context, where);
    CUDA_TRY(where, cudaStreamSynchronize, context->stream);
    return NULL;
}

static col_status finish(const col_device *device, const char *where)
{
    return cuda_finish(&device->context, where);
}

static col_status look(const col_device *device, const cuda_call *call, bool *out_bad)
{
    const col_plan_instruction *in = call->instruction;
    cudaStream_t stream = device->context.stream;
    int32_t flag = 0;
    CUDA_TRY(in->name, cudaMemsetAsync, device->flag, 0, sizeof flag, stream);
    for (size_t i = 0; i < in->n_writes; i++)
        COL_TRY(cuda_look(&device->context, in->writes[i], call->args[in->n_reads + i], device->flag));
    CUDA_TRY(in->name, cudaMemcpyAsync, &flag, device->flag, sizeof flag, cudaMemcpyDeviceToHost, stream);
    COL_TRY(finish(device, in->name));
    *out_bad = flag != 0;
    return NULL;
}

/* Its wait is what writes. */
static bool is_started(const col_plan_instruction *in)
{
    return in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE && in->collective->started;
}

/* One instruction after another has ended, collectives too. */
static col_status run_watched(const col_device *device, const prepared_program *p, int64_t *out_bad)
{
    for (size_t i = 0; i < p->program->n_instructions; i++) {
        const cuda_call *call = &p->calls[i];
        COL_TRY(call->run(&device->context, call));
        COL_TRY(finish(device, call->instruction->name));
        bool bad = false;
        if (*out_bad < 0 && !is_started(call->instruction)) COL_TRY(look(device, call, &bad));
        if (bad) *out_bad = (int64_t)i;
    }
    return NULL;
}

/* Libraries choose and load code when they first run, which a capture must not; so the second run is
 * captured. */
static col_status run_program(const col_device *device, prepared_program *p)
{
    if (p->has_run && !p->graph && !p->is_plain) {
        col_status status = cuda_capture(&device->context, p->program, p->calls, &p->graph);
        p->is_plain = status != NULL;
        if (status) {
            fprintf(
                stderr,
                "colrun: warning: the program '%s' cannot be captured as a graph, and runs instruction by "
                "instruction: %s\n",
                p->program->name, col_error_message(status));
        }
        col_error_free(status);
    }
    p->has_run = true;
    if (!p->graph) return run_calls(device, p);
    CUDA_TRY(p->program->name, cudaGraphLaunch, p->graph, device->context.stream);
    return NULL;
}

static col_status run_to_end(col_device *device, prepared_program *p, int64_t *out_bad)
{
    const col_plan_program *program = p->program;
    CUDA_TRY(program->name, cudaSetDevice, device->gpu);
    cuda_link_begin(&device->context, program);
    if (out_bad)
        COL_TRY(run_watched(device, p, out_bad));
    else if (device->options.observe)
        COL_TRY(cuda_observe(&device->context, program, p->calls, &device->options, &p->watch));
    else
        COL_TRY(run_program(device, p));
    COL_TRY(finish(device, program->name));
    cuda_link_count(&device->context, program);
    return NULL;
}

static col_status cuda_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    prepared_program *p = NULL;
    for (size_t i = 0; i < device->plan->n_programs; i++) {
        if (device->programs[i].program == program) p = &device->programs[i];
    }
    COL_ASSERT(p);
    if (out_bad) *out_bad = -1;
    col_status status = run_to_end(device, p, out_bad);
    if (!status) return NULL;
    cuda_link_abort(&device->context);
    return status;
}

/* Where the bytes are on the GPU already; NULL: nowhere. */
static const unsigned char *find_staged(const cuda_staging *s, const void *data, uint64_t bytes)
{
    const unsigned char *from = data;
    if (!s->data || from < s->data || bytes > s->bytes || from > s->data + (s->bytes - bytes)) return NULL;
    return s->memory + (from - s->data);
}

static col_status cuda_write(col_device *device, uint64_t offset, const void *data, uint64_t bytes)
{
    static const char where[] = "writing to the GPU";
    cudaStream_t stream = device->context.stream;
    const unsigned char *staged = find_staged(&device->staging, data, bytes);
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (!bytes) return NULL;
    CUDA_TRY(where, cudaSetDevice, device->gpu);
    if (staged) CUDA_TRY(where, cudaStreamWaitEvent, stream, device->staging.there, 0);
    CUDA_TRY(where, cudaMemcpyAsync, device->arena + offset, staged ? staged : data, bytes,
             staged ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice, stream);
    return finish(device, where);
}

/* Room on the GPU for what is brought from host memory of that size, if there is any. */
static bool make_room(cuda_staging *s, uint64_t bytes)
{
    if (bytes <= s->room) return true;
    if (!s->stream && cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking)) return false;
    if (!s->there && cudaEventCreateWithFlags(&s->there, cudaEventDisableTiming)) return false;
    cudaFree(s->memory);
    s->memory = NULL;
    s->room = cudaMalloc((void **)&s->memory, bytes) ? 0 : bytes;
    return s->room > 0;
}

static void *cuda_host_memory(col_device *device, uint64_t bytes)
{
    void *memory;
    cudaSetDevice(device->gpu);
    if (!make_room(&device->staging, bytes)) cudaGetLastError();
    if (cudaMallocHost(&memory, bytes)) {
        cudaGetLastError();
        return NULL;
    }
    memset(memory, 0, bytes);
    col_vec_push(device->context.memory, &device->host_memory, memory);
    return memory;
}

/* What there is no room for the write brings. */
static col_status cuda_stage(col_device *device, const void *data, uint64_t bytes)
{
    static const char where[] = "bringing data to the GPU";
    cuda_staging *s = &device->staging;
    s->data = NULL;
    if (!data || bytes > s->room) return NULL;
    CUDA_TRY(where, cudaSetDevice, device->gpu);
    CUDA_TRY(where, cudaMemcpyAsync, s->memory, data, bytes, cudaMemcpyHostToDevice, s->stream);
    CUDA_TRY(where, cudaEventRecord, s->there, s->stream);
    s->data = data;
    s->bytes = bytes;
    return NULL;
}

static col_status cuda_read(col_device *device, uint64_t offset, void *data, uint64_t bytes)
{
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (!bytes) return NULL;
    CUDA_TRY("reading from the GPU", cudaSetDevice, device->gpu);
    CUDA_TRY("reading from the GPU", cudaMemcpyAsync, data, device->arena + offset, bytes,
             cudaMemcpyDeviceToHost, device->context.stream);
    return finish(device, "reading from the GPU");
}

static col_status cuda_memory(uint64_t *out_bytes)
{
    size_t available = 0, all = 0;
    int count;
    COL_TRY(check_driver(&count));
    CUDA_TRY("finding GPUs", cudaMemGetInfo, &available, &all);
    *out_bytes = all;
    return NULL;
}

static void *cuda_host_arena(col_device *device)
{
    (void)device;
    return NULL;
}

const col_device_type col_device_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .run = cuda_run,
    .write = cuda_write,
    .read = cuda_read,
    .memory = cuda_memory,
    .host_arena = cuda_host_arena,
    .host_memory = cuda_host_memory,
    .stage = cuda_stage,
};
