#define _GNU_SOURCE
#include "runtime/cpu/cpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct library {
    void *handle;
    int file; /* open while it is loaded: the loader takes a name that it has seen for what it loaded then */
} library;

struct cpu_code {
    size_t count;
    library *libraries;
};

/* LLVM's names of the features that generated code may need, as the processor reports them. */
static bool has_feature(const char *name)
{
    __builtin_cpu_init();
    static const char x86_64[][8] = {"sse", "sse2", "fxsr", "mmx", "cx8", "cmov", "x87", "64bit"};
    for (size_t i = 0; i < COL_COUNT(x86_64); i++) {
        if (!strcmp(name, x86_64[i])) return true;
    }
#define FEATURE(llvm, gcc)                                                                                   \
    if (!strcmp(name, llvm)) return __builtin_cpu_supports(gcc);
    FEATURE("sse3", "sse3")
    FEATURE("ssse3", "ssse3")
    FEATURE("sse4.1", "sse4.1")
    FEATURE("sse4.2", "sse4.2")
    FEATURE("avx", "avx")
    FEATURE("avx2", "avx2")
    FEATURE("fma", "fma")
    FEATURE("bmi", "bmi")
    FEATURE("bmi2", "bmi2")
    FEATURE("f16c", "f16c")
    FEATURE("popcnt", "popcnt")
    FEATURE("lzcnt", "lzcnt")
    FEATURE("avx512f", "avx512f")
    FEATURE("avx512cd", "avx512cd")
    FEATURE("avx512bw", "avx512bw")
    FEATURE("avx512dq", "avx512dq")
    FEATURE("avx512vl", "avx512vl")
#undef FEATURE
    return false;
}

/* The loader wants a file: an anonymous one in memory. */
static col_status load_object(const Col__Plan__CodeObject *object, library *out)
{
    for (size_t i = 0; i < object->n_features; i++) {
        if (has_feature(object->features[i])) continue;
        return col_error_make(
            COL_DEVICE,
            "the plan's code needs the CPU feature '%s', which this machine lacks: compile the "
            "plan on this machine, or with --machine for its processor",
            object->features[i]);
    }
    out->file = memfd_create("colc-kernels", MFD_CLOEXEC);
    if (out->file < 0) return col_error_from_errno(errno, "cannot load the plan's code");
    size_t done = 0;
    while (done < object->image.len) {
        ssize_t put = write(out->file, object->image.data + done, object->image.len - done);
        if (put <= 0) return col_error_from_errno(errno, "cannot load the plan's code");
        done += (size_t)put;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", out->file);
    out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!out->handle) return col_error_make(COL_BAD_INPUT, "the plan's code cannot be loaded: %s", dlerror());
    return NULL;
}

col_status cpu_code_load(const col_plan *plan, cpu_code **out_code)
{
    cpu_code *code = calloc(1, sizeof *code);
    if (!code) col_out_of_memory(0);
    code->count = plan->n_objects;
    code->libraries = calloc(plan->n_objects + 1, sizeof *code->libraries);
    if (!code->libraries) col_out_of_memory(0);
    for (size_t i = 0; i < code->count; i++) code->libraries[i].file = -1;
    col_status status = NULL;
    for (size_t i = 0; i < plan->n_objects && !status; i++) {
        const Col__Plan__CodeObject *object = plan->objects[i];
        if (strcmp(object->target, "x86_64-elf-so")) {
            status =
                col_error_make(COL_DEVICE, "the plan's code is for '%s', not for this CPU", object->target);
        } else {
            status = load_object(object, &code->libraries[i]);
        }
    }
    if (status)
        cpu_code_unload(code);
    else
        *out_code = code;
    return status;
}

void cpu_code_unload(cpu_code *code)
{
    if (!code) return;
    for (size_t i = 0; i < code->count; i++) {
        if (code->libraries[i].handle) dlclose(code->libraries[i].handle);
        if (code->libraries[i].file >= 0) close(code->libraries[i].file);
    }
    free(code->libraries);
    free(code);
}

col_status cpu_code_find(const cpu_code *code, uint32_t object, const char *symbol, cpu_kernel *out_kernel)
{
    void *address = dlsym(code->libraries[object].handle, symbol);
    if (!address) return col_error_make(COL_BAD_INPUT, "the plan's code has no kernel '%s'", symbol);
    memcpy(out_kernel, &address, sizeof address);
    return NULL;
}
