/* GPUs that are not there, to preload: the functions of the CUDA runtime, cuBLASLt and NCCL that colc_cuda.so and
 * colc_nccl.so call, without their headers. They do as $FAKE_GPU says, "DRIVER COUNT ERROR CAPABILITY FREE":
 *   DRIVER      what cudaDriverGetVersion gives: 13000
 *   COUNT       GPUs;  ERROR what cudaGetDeviceCount returns
 *   CAPABILITY  90 for compute capability 9.0
 *   FREE        bytes of memory; what is allocated is the host's
 * Copies copy, everything else succeeds and does nothing: kernels, products and collectives leave zeros. $FAKE_ALLOCATIONS
 * names a file that every allocation makes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gpu {
    int driver, count, error, capability;
    unsigned long long free_bytes;
} gpu;

static gpu told(void)
{
    gpu g = {0};
    const char *text = getenv("FAKE_GPU");
    if (text) sscanf(text, "%d %d %d %d %llu", &g.driver, &g.count, &g.error, &g.capability, &g.free_bytes);
    return g;
}

static int chosen; /* by cudaSetDevice; a process has one */

#define DEFINE(name, ...)                                                                                    \
    int name(__VA_ARGS__);                                                                                   \
    int name(__VA_ARGS__)

DEFINE(cudaDriverGetVersion, int *out)
{
    *out = told().driver;
    return 0;
}

DEFINE(cudaGetDeviceCount, int *out)
{
    *out = told().count;
    return told().error;
}

DEFINE(cudaSetDevice, int device)
{
    chosen = device;
    return 0;
}

DEFINE(cudaDeviceGetAttribute, int *out, int attribute)
{
    enum { MAJOR = 75, MINOR = 76, PROCESSORS = 16 };
    int capability = told().capability;
    *out = attribute == MAJOR        ? capability / 10
           : attribute == MINOR      ? capability % 10
           : attribute == PROCESSORS ? 132
                                     : 1 << 16;
    return 0;
}

DEFINE(cudaMemGetInfo, size_t *out_free, size_t *out_all)
{
    *out_free = told().free_bytes;
    *out_all = 2 * *out_free;
    return 0;
}

DEFINE(cudaGetDeviceProperties, unsigned char *out)
{
    enum { NAME = 256, UUID = 16 };
    memset(out, 0, NAME + UUID);
    out[NAME] = (unsigned char)(chosen + 1);
    return 0;
}

static int allocate(void **out, size_t bytes)
{
    const char *path = getenv("FAKE_ALLOCATIONS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) fclose(file);
    *out = calloc(bytes ? bytes : 1, 1);
    return *out ? 0 : 2;
}

DEFINE(cudaMalloc, void **out, size_t bytes)
{
    return allocate(out, bytes);
}

DEFINE(cudaHostAlloc, void **out, size_t bytes)
{
    return allocate(out, bytes);
}

DEFINE(cudaFree, void *memory)
{
    free(memory);
    return 0;
}

DEFINE(cudaFreeHost, void *memory)
{
    free(memory);
    return 0;
}

DEFINE(cudaHostGetDevicePointer, void **out, void *host)
{
    *out = host;
    return 0;
}

DEFINE(cudaMemcpyAsync, void *to, const void *from, size_t bytes)
{
    memmove(to, from, bytes);
    return 0;
}

/* Handles that nobody looks into. */
static int handle(void **out)
{
    static char something;
    *out = &something;
    return 0;
}

#define HANDLE(name)                                                                                         \
    DEFINE(name, void **out)                                                                                 \
    {                                                                                                        \
        return handle(out);                                                                                  \
    }
HANDLE(cudaStreamCreateWithFlags)
HANDLE(cudaStreamCreateWithPriority)
HANDLE(cudaEventCreateWithFlags)
HANDLE(cudaLibraryLoadData)
HANDLE(cudaLibraryGetKernel)
HANDLE(cublasLtCreate)
HANDLE(ncclCommInitRankConfig)

DEFINE(ncclCommSplit, void *comm, int color, int key, void **out)
{
    (void)comm, (void)color, (void)key;
    return handle(out);
}

DEFINE(ncclCommGetAsyncError, void *comm, int *out)
{
    (void)comm;
    *out = 0;
    return 0;
}

/* Later at every question. */
DEFINE(cudaEventElapsedTime, float *out)
{
    static int milliseconds;
    *out = (float)milliseconds++;
    return 0;
}

#define SUCCEED(name)                                                                                        \
    DEFINE(name, void)                                                                                       \
    {                                                                                                        \
        return 0;                                                                                            \
    }
SUCCEED(cudaDeviceGetStreamPriorityRange)
SUCCEED(cudaEventDestroy)
SUCCEED(cudaEventRecord)
SUCCEED(cudaEventSynchronize)
SUCCEED(cudaFuncSetAttribute)
SUCCEED(cudaGetLastError)
SUCCEED(cudaLaunchKernel)
SUCCEED(cudaLibraryUnload)
SUCCEED(cudaMemsetAsync)
SUCCEED(cudaStreamDestroy)
SUCCEED(cudaStreamQuery)
SUCCEED(cudaStreamSynchronize)
SUCCEED(cudaStreamWaitEvent)
SUCCEED(cublasLtDestroy)
SUCCEED(ncclGetUniqueId)
SUCCEED(ncclCommAbort)
SUCCEED(ncclCommFinalize)
SUCCEED(ncclCommDestroy)
SUCCEED(ncclGroupStart)
SUCCEED(ncclGroupEnd)
SUCCEED(ncclAllReduce)
SUCCEED(ncclAllGather)
SUCCEED(ncclBroadcast)
SUCCEED(ncclReduceScatter)
SUCCEED(ncclSend)
SUCCEED(ncclRecv)

/* The driver refuses graphs: cudaErrorStreamCaptureUnsupported. */
DEFINE(cudaStreamBeginCapture, void)
{
    return 900;
}
