#include "codegen/ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/ptx_loops.h"

static const char triple[] = "nvptx64-nvidia-cuda";
/* PTX ISA 8.1 (CUDA 12.1) takes more than 4 KiB of parameters. */
static const char features[] = "+ptx81";
static const char *const processors[] = {COL_PTX_DEFAULT, "sm_86", "sm_89", "sm_90", "sm_90a"};

/* Vectors become scalars, but for loads and stores. Loops over a row are unrolled so that several loads are
 * under way at once. */
static const char pipeline[] =
    "function(sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>,scalarizer,loop-simplify,"
    "loop-mssa(loop-rotate,licm),gvn,instcombine<no-verify-fixpoint>,"
    "loop-mssa(licm),loop-unroll<O2>,gvn,simplifycfg,early-cse)";

col_ptx_launch col_ptx_launch_of(const col_kernel *kernel)
{
    ptx_shape shape = ptx_shape_of(kernel);
    return (col_ptx_launch){ptx_shape_blocks(&shape), shape.threads};
}

bool col_ptx_wants_aligned(const col_kernel *kernel, int arg)
{
    unsigned lanes = ptx_shape_of(kernel).lanes;
    for (int i = 0; i < kernel->instr_count; i++) {
        const col_instr *in = &kernel->instrs[i];
        if (in->kind == COL_INSTR_LOAD && in->access.arg == arg && ptx_is_wide(kernel, &in->access, lanes))
            return true;
    }
    for (int i = 0; i < kernel->store_count; i++) {
        const col_access *access = &kernel->stores[i].access;
        if (access->arg == arg && ptx_is_wide(kernel, access, lanes)) return true;
    }
    return false;
}

/* Functions that the CPU has of its mathematical library. */
static bool has_code(const col_kernel *k, const col_instr *in)
{
    if (in->kind != COL_INSTR_COMPUTE) return true;
    if (in->op == COL_OP_POW) return false;
    static const col_op f32_only[] = {COL_OP_EXP, COL_OP_LOG, COL_OP_TANH,
                                      COL_OP_ERF, COL_OP_SIN, COL_OP_COS};
    for (size_t i = 0; i < COL_COUNT(f32_only); i++) {
        if (in->op == f32_only[i] && k->instrs[in->operands[0]].dtype == COL_F64) return false;
    }
    return true;
}

static col_status check_ops(const col_kernel *k)
{
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (has_code(k, in)) continue;
        return col_error_make(COL_BAD_INPUT,
                              "the op '%s' of %s has no code for GPUs: use another, or --target cpu",
                              col_op_info_of(in->op)->name, col_dtype_name(k->instrs[in->operands[0]].dtype));
    }
    return NULL;
}

static col_status find_processor(const char *name, const char **out)
{
    *out = processors[0];
    if (!name) return NULL;
    for (size_t i = 0; i < COL_COUNT(processors); i++) {
        *out = processors[i];
        if (!strcmp(processors[i], name)) return NULL;
    }
    return col_error_make(COL_BAD_INPUT, "'%s' is no GPU level: choose sm_80, sm_86, sm_89, sm_90 or sm_90a",
                          name);
}

/* The assembler must leave enough registers for all threads of a block. */
static void limit_threads(const col_llvm *l, unsigned threads)
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    static const char key[] = "maxntidx";
    LLVMMetadataRef parts[] = {LLVMValueAsMetadata(l->function),
                               LLVMMDStringInContext2(l->context, key, sizeof key - 1),
                               LLVMValueAsMetadata(LLVMConstInt(i32, threads, false))};
    LLVMMetadataRef node = LLVMMDNodeInContext2(l->context, parts, COL_COUNT(parts));
    LLVMAddNamedMetadataOperand(l->module, "nvvm.annotations", LLVMMetadataAsValue(l->context, node));
}

static void emit_module(const col_kernel *const *kernels, size_t n, LLVMContextRef context,
                        LLVMModuleRef module)
{
    col_arena *scratch = col_arena_create();
    col_llvm l = {
        .context = context, .module = module, .b = LLVMCreateBuilderInContext(context), .is_gpu = true};
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "k%zu", i);
        ptx_loops_emit(&l, kernels[i], name, scratch);
        LLVMSetFunctionCallConv(l.function, LLVMPTXKernelCallConv);
        limit_threads(&l, ptx_shape_of(kernels[i]).threads);
    }
    COL_ASSERT(!l.needs_libm);
    LLVMDisposeBuilder(l.b);
    col_arena_destroy(scratch);
}

static col_status failure(char *message)
{
    col_status status = col_error_make(COL_DEVICE, "LLVM: %s", message);
    LLVMDisposeMessage(message);
    return status;
}

static col_status optimise(LLVMModuleRef module, LLVMTargetMachineRef machine, const char *dump_ir)
{
    char *message = NULL;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) COL_PANIC("invalid LLVM IR: %s", message);
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, pipeline, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        message = LLVMGetErrorMessage(error);
        col_status status = col_error_make(COL_DEVICE, "LLVM: %s", message);
        LLVMDisposeErrorMessage(message);
        return status;
    }
    message = NULL;
    if (dump_ir && LLVMPrintModuleToFile(module, dump_ir, &message)) return failure(message);
    return NULL;
}

static col_status assemble(const col_kernel *const *kernels, size_t n, LLVMTargetMachineRef machine,
                           const char *dump_ir, col_arena *arena, const char **out_text)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernels", context);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(module, triple);
    LLVMSetModuleDataLayout(module, layout);
    emit_module(kernels, n, context, module);
    col_status status = optimise(module, machine, dump_ir);
    LLVMMemoryBufferRef text = NULL;
    char *message = NULL;
    if (!status && LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &message, &text))
        status = failure(message);
    if (!status) *out_text = col_arena_strndup(arena, LLVMGetBufferStart(text), LLVMGetBufferSize(text));
    if (text) LLVMDisposeMemoryBuffer(text);
    LLVMDisposeTargetData(layout);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return status;
}

col_status col_ptx_compile(const col_kernel *const *kernels, size_t n, const col_ptx_options *options,
                           col_arena *arena, const char **out_text)
{
    const char *processor;
    COL_TRY(find_processor(options->processor, &processor));
    for (size_t i = 0; i < n; i++) COL_TRY(check_ops(kernels[i]));
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) return failure(message);
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(
        target, triple, processor, features, LLVMCodeGenLevelDefault, LLVMRelocDefault, LLVMCodeModelDefault);
    col_status status = assemble(kernels, n, machine, options->dump_ir, arena, out_text);
    LLVMDisposeTargetMachine(machine);
    return status;
}
