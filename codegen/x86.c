#define _GNU_SOURCE
#include "codegen/x86.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/loops.h"
#include "ir/base/file.h"

enum { MOST_THREADS = 16 };

/* What generated code may use. The names of features are GCC's, which the loader asks the processor for. */
typedef struct level {
    const char *name, *llvm_cpu, *vector_bits;
    unsigned lanes; /* f32 per register */
    const char *features[10];
    size_t feature_count;
} level;

static const level levels[] = {
    {"sse2", "x86-64", "128", 4, {"sse2"}, 1},
    {"avx2", "x86-64-v3", "256", 8, {"avx", "avx2", "fma", "bmi", "bmi2", "f16c"}, 6},
    {"avx512",
     "x86-64-v4",
     "512",
     16,
     {"avx2", "fma", "bmi", "bmi2", "f16c", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
     10},
};

static const level *best_level(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd")) {
        return &levels[2];
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &levels[1] : &levels[0];
}

static col_status find_level(const char *name, const level **out)
{
    *out = best_level();
    if (!name) return NULL;
    for (size_t i = 0; i < COL_COUNT(levels); i++) {
        *out = &levels[i];
        if (!strcmp(levels[i].name, name)) return NULL;
    }
    return col_error_make(COL_BAD_INPUT, "'%s' is no CPU level: choose sse2, avx2 or avx512", name);
}

/* One module of the kernels that one thread compiles. */
typedef struct job {
    const col_kernel *const *kernels;
    size_t first, step, count;
    const level *level;
    const char *dump_ir;
    LLVMMemoryBufferRef object;
    bool needs_libm;
    char *error;
} job;

static void add_attribute(LLVMValueRef function, const char *key, const char *value, LLVMContextRef context)
{
    LLVMAttributeRef attribute =
        LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

static void emit_module(job *j, LLVMContextRef context, LLVMModuleRef module)
{
    col_arena *scratch = col_arena_create();
    col_llvm l = {.context = context,
                  .module = module,
                  .b = LLVMCreateBuilderInContext(context),
                  .is_baseline = j->level == &levels[0],
                  .has_scalef = j->level == &levels[2]};
    for (size_t i = j->first; i < j->count; i += j->step) {
        char name[32];
        snprintf(name, sizeof name, "k%zu", i);
        col_loops_emit(&l, j->kernels[i], name, j->level->lanes, scratch);
        add_attribute(l.function, "target-cpu", j->level->llvm_cpu, context);
        add_attribute(l.function, "prefer-vector-width", j->level->vector_bits, context);
        add_attribute(l.function, "min-legal-vector-width", j->level->vector_bits, context);
    }
    j->needs_libm = l.needs_libm;
    LLVMDisposeBuilder(l.b);
    col_arena_destroy(scratch);
}

/* The code is vector code already; what is left is to keep values in registers, to hoist what does not vary,
 * and to clean up. */
static const char pipeline[] =
    "function(sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>,loop-simplify,"
    "loop-mssa(loop-rotate,licm),gvn,instcombine<no-verify-fixpoint>,"
    "loop-mssa(licm),loop-unroll<O2>,simplifycfg,early-cse)";

static char *take_error(LLVMErrorRef error)
{
    char *message = LLVMGetErrorMessage(error), *copy = strdup(message);
    LLVMDisposeErrorMessage(message);
    return copy;
}

static void compile_module(job *j, LLVMModuleRef module, LLVMTargetMachineRef machine)
{
    char *message = NULL;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
        COL_PANIC("invalid LLVM IR: %s", message);
    }
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, pipeline, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        j->error = take_error(error);
        return;
    }
    if (j->dump_ir && LLVMPrintModuleToFile(module, j->dump_ir, &message)) {
        j->error = strdup(message);
        LLVMDisposeMessage(message);
        return;
    }
    message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &j->object)) {
        j->error = strdup(message);
        LLVMDisposeMessage(message);
    }
}

static void *run_job(void *context_of_thread)
{
    job *j = context_of_thread;
    static const char triple[] = "x86_64-unknown-linux-gnu";
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        j->error = strdup(message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(
        target, triple, j->level->llvm_cpu, "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernels", context);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(module, triple);
    LLVMSetModuleDataLayout(module, layout);
    emit_module(j, context, module);
    compile_module(j, module, machine);
    LLVMDisposeTargetData(layout);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    LLVMDisposeTargetMachine(machine);
    return NULL;
}

/* Linking. */

static col_status run_linker(char *const *argv, bool *out_missing)
{
    extern char **environ;
    pid_t child;
    int state = 0, failed = posix_spawnp(&child, argv[0], NULL, NULL, argv, environ);
    *out_missing = failed == ENOENT;
    if (failed) return col_error_from_errno(failed, "cannot run the linker '%s'", argv[0]);
    while (waitpid(child, &state, 0) < 0) {
        if (errno != EINTR) return col_error_from_errno(errno, "cannot wait for the linker '%s'", argv[0]);
    }
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return NULL;
    if (WIFEXITED(state) && WEXITSTATUS(state) == 127) *out_missing = true;
    return col_error_make(COL_DEVICE, "the linker '%s' failed", argv[0]);
}

static col_status link_objects(const char *folder, size_t count)
{
    static const char *const linkers[] = {"ld", "ld.lld-19", "ld.lld", "cc"};
    char names[MOST_THREADS][512], output[512];
    snprintf(output, sizeof output, "%s/kernels.so", folder);
    for (size_t i = 0; i < count; i++) snprintf(names[i], sizeof names[i], "%s/%zu.o", folder, i);
    for (size_t i = 0; i < COL_COUNT(linkers); i++) {
        char *argv[MOST_THREADS + 8];
        size_t n = 0;
        argv[n++] = (char *)(uintptr_t)linkers[i];
        if (!strcmp(linkers[i], "cc")) argv[n++] = "-nostdlib";
        argv[n++] = "-shared";
        argv[n++] = "-o";
        argv[n++] = output;
        for (size_t o = 0; o < count; o++) argv[n++] = names[o];
        argv[n] = NULL;
        bool missing = false;
        col_status status = run_linker(argv, &missing);
        if (!status || !missing) return status;
        col_error_free(status);
    }
    return col_error_make(COL_DEVICE, "no linker was found: install binutils (for 'ld')");
}

static col_status link_in_folder(const char *folder, job *jobs, size_t count, col_arena *arena,
                                 col_x86_code *out)
{
    for (size_t i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%zu.o", folder, i);
        COL_TRY(col_file_write(path, LLVMGetBufferStart(jobs[i].object), LLVMGetBufferSize(jobs[i].object)));
    }
    COL_TRY(link_objects(folder, count));
    char path[512], *data;
    snprintf(path, sizeof path, "%s/kernels.so", folder);
    COL_TRY(col_file_read(arena, path, 0, &data, &out->elf_size));
    out->elf = data;
    return NULL;
}

static void remove_folder(const char *folder, size_t count)
{
    char path[512];
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%zu.o", folder, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/kernels.so", folder);
    unlink(path);
    rmdir(folder);
}

static col_status link_all(job *jobs, size_t count, col_arena *arena, col_x86_code *out)
{
    char *folder;
    COL_TRY(col_file_temporary_folder(arena, &folder));
    col_status status = link_in_folder(folder, jobs, count, arena, out);
    remove_folder(folder, count);
    return status;
}

static col_status run_jobs(job *jobs, size_t count)
{
    pthread_t threads[MOST_THREADS];
    bool started[MOST_THREADS] = {false};
    for (size_t i = 1; i < count; i++) started[i] = pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0;
    run_job(&jobs[0]);
    for (size_t i = 1; i < count; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            run_job(&jobs[i]);
    }
    col_status status = NULL;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].error && !status) status = col_error_make(COL_DEVICE, "LLVM: %s", jobs[i].error);
        free(jobs[i].error);
    }
    return status;
}

col_status col_x86_compile(const col_kernel *const *kernels, size_t n, const col_x86_options *options,
                           col_arena *arena, col_x86_code *out_code)
{
    const level *level;
    COL_TRY(find_level(options->features, &level));
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    size_t threads = (size_t)COL_MAX(options->threads, 1);
    threads = COL_MIN(COL_MIN(threads, COL_MAX(n, (size_t)1)), (size_t)MOST_THREADS);
    if (options->dump_ir) threads = 1; /* one module, one file */
    job jobs[MOST_THREADS] = {0};
    for (size_t i = 0; i < threads; i++) {
        jobs[i] = (job){.kernels = kernels,
                        .first = i,
                        .step = threads,
                        .count = n,
                        .level = level,
                        .dump_ir = options->dump_ir};
    }
    *out_code = (col_x86_code){.features = level->features, .feature_count = level->feature_count};
    col_status status = run_jobs(jobs, threads);
    if (!status) status = link_all(jobs, threads, arena, out_code);
    for (size_t i = 0; i < threads; i++) {
        out_code->needs_libm |= jobs[i].needs_libm;
        if (jobs[i].object) LLVMDisposeMemoryBuffer(jobs[i].object);
    }
    return status;
}
