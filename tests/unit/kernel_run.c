#define _GNU_SOURCE
#include "tests/unit/unit.h"
#include "tests/unit/kernel_run.h"

#include <dlfcn.h>
#include <elf.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codegen/x86.h"
#include "frontend/parse.h"
#include "ir/evaluate.h"
#include "ir/units.h"
#include "ir/view.h"
#include "passes/channels_last.h"
#include "passes/pass.h"
#include "tests/unit/random.h"

enum { CANARY = 64 };

typedef void (*kernel_function)(void *const *args, int64_t begin, int64_t end);

col_graph *kernel_run_parse(const char *text, col_arena *arena)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){.name = "test.ir", .text = text, .size = strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    return graph;
}

void kernel_run_prepare(col_graph *graph)
{
    static const char *const names[] = {"lower", "fold", "cse", "dce", "legalize", "cse", "dce", "fuse"};
    const col_pass *passes[COL_COUNT(names)];
    for (size_t i = 0; i < COL_COUNT(names); i++) passes[i] = col_pass_find(names[i]);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_passes_run(graph, passes, COL_COUNT(passes), &options, NULL));
}

/* Elements as bytes. */

static double read_element(col_dtype dtype, const void *at)
{
    switch (dtype) {
    case COL_F64: return *(const double *)at;
    case COL_F16: return (double)*(const _Float16 *)at;
    case COL_BF16: {
        uint32_t bits = (uint32_t) * (const uint16_t *)at << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    case COL_I32: return *(const int32_t *)at;
    case COL_I64: return (double)*(const int64_t *)at;
    case COL_I8: return *(const int8_t *)at;
    case COL_I16: return *(const int16_t *)at;
    case COL_U16: return *(const uint16_t *)at;
    case COL_U32: return *(const uint32_t *)at;
    case COL_U64: return (double)*(const uint64_t *)at;
    case COL_U8:
    case COL_BOOL: return *(const uint8_t *)at;
    default: return (double)*(const float *)at;
    }
}

static uint16_t bf16_of(double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void write_element(col_dtype dtype, void *at, double value)
{
    switch (dtype) {
    case COL_F64: *(double *)at = value; break;
    case COL_F16: *(_Float16 *)at = (_Float16)value; break;
    case COL_BF16: *(uint16_t *)at = bf16_of(value); break;
    case COL_I32: *(int32_t *)at = (int32_t)value; break;
    case COL_I64: *(int64_t *)at = (int64_t)value; break;
    case COL_I8: *(int8_t *)at = (int8_t)value; break;
    case COL_I16: *(int16_t *)at = (int16_t)value; break;
    case COL_U16: *(uint16_t *)at = (uint16_t)value; break;
    case COL_U32: *(uint32_t *)at = (uint32_t)value; break;
    case COL_U64: *(uint64_t *)at = (uint64_t)value; break;
    case COL_U8:
    case COL_BOOL: *(uint8_t *)at = (uint8_t)value; break;
    default: *(float *)at = (float)value; break;
    }
}

col_tensor *kernel_run_fill(const col_graph *graph, uint64_t seed, col_arena *arena)
{
    unit_random r = {seed};
    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_type type = vars[i].type;
        for (int64_t j = 0; j < col_shape_numel(type.shape); j++) {
            double unit = (double)(random_bits(&r) >> 11) * 0x1p-53, bytes;
            double value = col_dtype_is_float(type.dtype) ? unit * 4 - 2
                           : type.dtype == COL_BOOL       ? unit > 0.5
                                                          : floor(unit * 3);
            write_element(type.dtype, &bytes, value);
            vars[i].data[j] = read_element(type.dtype, &bytes);
        }
    }
    return vars;
}

/* Running. */

typedef struct run {
    const col_graph *graph;
    col_arena *arena;
    unsigned char **bytes; /* by value id, of values with bytes of their own */
    unit_random random;
    bool cuts, channels_last;
} run;

/* How a value that has bytes lies in them. */
static void strides_of(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    const run *r = context;
    if (r->channels_last && col_value_allows_channels_last(value))
        col_channels_last_strides(value->type.shape, strides);
    else
        col_shape_strides(value->type.shape, strides);
}

static void *new_bytes(run *r, const col_value *value)
{
    size_t size = (size_t)col_type_bytes(value->type);
    unsigned char *whole = col_arena_alloc(r->arena, size + 2 * CANARY + 64);
    whole += 64 - (uintptr_t)whole % 64;
    memset(whole, 0xC5, size + 2 * CANARY);
    return r->bytes[value->id] = whole + CANARY;
}

static void check_canary(const run *r, const col_value *value)
{
    const unsigned char *data = r->bytes[value->id], *end = data + col_type_bytes(value->type);
    for (int i = 0; i < CANARY; i++) {
        if (data[i - CANARY] != 0xC5 || end[i] != 0xC5) fail_msg("a kernel wrote outside its output");
    }
}

static col_tensor read_value(const run *r, const col_value *value)
{
    col_view view = col_view_over(value, strides_of, (void *)(uintptr_t)r);
    col_shape shape = value->type.shape;
    size_t size = col_dtype_size(value->type.dtype);
    int64_t numel = col_shape_numel(shape), strides[COL_MAX_RANK];
    col_tensor tensor = {value->type, COL_NEW_ARRAY(r->arena, double, numel + 1)};
    col_shape_strides(shape, strides);
    for (int64_t i = 0; i < numel; i++) {
        int64_t at = view.offset;
        for (int d = 0; d < shape.rank; d++) at += i / strides[d] % shape.dims[d] * view.strides[d];
        tensor.data[i] = read_element(value->type.dtype, r->bytes[view.base->id] + (size_t)at * size);
    }
    return tensor;
}

static void write_value(run *r, const col_value *value, const col_tensor *tensor)
{
    size_t size = col_dtype_size(value->type.dtype);
    unsigned char *data = new_bytes(r, value);
    col_shape shape = value->type.shape;
    int64_t own[COL_MAX_RANK], strides[COL_MAX_RANK];
    col_shape_strides(shape, own);
    strides_of(r, value, strides);
    for (int64_t i = 0; i < col_shape_numel(shape); i++) {
        int64_t at = 0;
        for (int d = 0; d < shape.rank; d++) at += i / own[d] % shape.dims[d] * strides[d];
        write_element(value->type.dtype, data + (size_t)at * size, tensor->data[i]);
    }
}

/* The pieces of the range from both ends inwards, of random sizes. */
static void call_in_pieces(run *r, kernel_function function, void *const *args, int64_t range)
{
    int64_t begin = 0, end = range;
    while (r->cuts && begin < end) {
        int64_t size = random_int(&r->random, 1, COL_MAX((end - begin) / 2, 1));
        if (random_chance(&r->random, 0.5)) {
            function(args, begin, begin + size);
            begin += size;
        } else {
            function(args, end - size, end);
            end -= size;
        }
    }
    function(args, begin, end); /* empty when it was cut */
}

/* Where the kernel says that an output may overwrite an input, it gives the same bits when it does. */
static void check_in_place(run *r, const col_kernel *kernel, kernel_function function, void *const *args)
{
    int inputs = kernel->input_count, count = inputs + kernel->output_count;
    for (int i = 0; i < inputs; i++) {
        for (int o = 0; o < kernel->output_count; o++) {
            const col_value *in = kernel->inputs[i].value, *out = kernel->outputs[o].value;
            if (kernel->inputs[i].offset || !col_kernel_in_place(kernel, i, o)) continue;
            size_t in_size = (size_t)col_type_bytes(in->type), out_size = (size_t)col_type_bytes(out->type);
            if (in_size != out_size) continue;
            void *again[1024];
            memcpy(again, args, sizeof *again * (size_t)count);
            for (int j = 0; j < kernel->output_count; j++)
                again[inputs + j] =
                    col_arena_alloc(r->arena, (size_t)col_type_bytes(kernel->outputs[j].value->type) + 64);
            again[i] = again[inputs + o] = col_arena_copy(r->arena, r->bytes[in->id], in_size);
            call_in_pieces(r, function, again, kernel->range);
            if (memcmp(again[i], r->bytes[out->id], out_size))
                fail_msg("a kernel differs when it runs in place");
        }
    }
}

static void run_kernel(run *r, const col_kernel *kernel, kernel_function function)
{
    void *args[1024];
    int n = 0;
    assert_true(kernel->input_count + kernel->output_count <= (int)COL_COUNT(args));
    for (int i = 0; i < kernel->input_count; i++) {
        const col_value *value = kernel->inputs[i].value;
        assert_non_null(r->bytes[value->id]);
        args[n++] =
            r->bytes[value->id] + kernel->inputs[i].offset * (int64_t)col_dtype_size(value->type.dtype);
    }
    for (int i = 0; i < kernel->output_count; i++) args[n++] = new_bytes(r, kernel->outputs[i].value);
    call_in_pieces(r, function, args, kernel->range);
    for (int i = 0; i < kernel->output_count; i++) check_canary(r, kernel->outputs[i].value);
    check_in_place(r, kernel, function, args);
}

static void run_reference(run *r, const col_node *node)
{
    const col_op_info *info = col_op_info_of(node->op);
    if (info->op_class == COL_CLASS_STATE || info->op_class == COL_CLASS_VIEW) return;
    col_tensor *operands = COL_NEW_ARRAY(r->arena, col_tensor, node->operand_count);
    col_tensor *results = COL_NEW_ARRAY(r->arena, col_tensor, node->result_count);
    for (uint32_t i = 0; i < node->operand_count; i++) operands[i] = read_value(r, col_node_operand(node, i));
    for (uint32_t i = 0; i < node->result_count; i++) {
        col_type type = node->results[i].type;
        results[i] = (col_tensor){type, COL_NEW_ARRAY(r->arena, double, col_shape_numel(type.shape) + 1)};
    }
    info->eval(node, operands, results);
    for (uint32_t i = 0; i < node->result_count; i++) write_value(r, &node->results[i], &results[i]);
}

/* The object may ask the program for nothing but functions of libm, and says when it does. */
static void check_symbols(const col_x86_code *code)
{
    static const char *const libm[] = {"exp", "log",  "tanh", "erf", "sin",
                                       "cos", "sinf", "cosf", "pow", "powf"};
    const unsigned char *elf = code->elf;
    Elf64_Ehdr header;
    memcpy(&header, elf, sizeof header);
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(elf + header.e_shoff);
    for (int i = 0; i < header.e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM) continue;
        const char *names = (const char *)elf + sections[sections[i].sh_link].sh_offset;
        const Elf64_Sym *symbols = (const Elf64_Sym *)(const void *)(elf + sections[i].sh_offset);
        for (size_t s = 1; s < sections[i].sh_size / sizeof *symbols; s++) {
            if (symbols[s].st_shndx != SHN_UNDEF) continue;
            const char *name = names + symbols[s].st_name;
            bool known = false;
            for (size_t k = 0; k < COL_COUNT(libm); k++) known |= !strcmp(name, libm[k]);
            if (!known || !code->needs_libm) fail_msg("generated code needs the symbol '%s'", name);
        }
    }
}

static void *load(const col_x86_code *code)
{
    check_symbols(code);
    int fd = memfd_create("kernels", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, code->elf, code->elf_size) == (ssize_t)code->elf_size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) fail_msg("%s", dlerror());
    close(fd);
    return handle;
}

int kernel_run_count(const col_graph *graph)
{
    int32_t count = 0;
    COL_FOR_EACH_NODE (node, graph) count = COL_MAX(count, node->group + 1);
    return count;
}

col_tensor *kernel_run(const col_graph *graph, const col_tensor *vars, const kernel_run_options *options,
                       col_arena *arena)
{
    run r = {.graph = graph,
             .arena = arena,
             .random = {options->split},
             .cuts = options->split != 0,
             .channels_last = options->channels_last};
    col_kernel_layout layout = {&r, strides_of};
    r.bytes = COL_NEW_ARRAY(arena, unsigned char *, graph->next_value_id);
    const col_units *units = col_units_of(graph, arena);
    const col_kernel **kernels = COL_NEW_ARRAY(arena, const col_kernel *, units->count);
    size_t count = 0;
    for (uint32_t u = 0; u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        if (unit->nodes[0]->group >= 0)
            kernels[count++] =
                col_kernel_build((const col_node *const *)unit->nodes, unit->node_count, &layout, arena);
    }
    void *handle = NULL;
    if (count) {
        col_x86_code code;
        assert_ok(
            col_x86_compile(kernels, count, &(col_x86_options){.features = options->features}, arena, &code));
        handle = load(&code);
    }
    for (size_t i = 0; i < graph->vars.len; i++) write_value(&r, graph->vars.data[i]->value, &vars[i]);
    size_t next = 0;
    for (uint32_t u = 0; u < units->count; u++) {
        if (units->units[u].nodes[0]->group < 0) {
            run_reference(&r, units->units[u].nodes[0]);
            continue;
        }
        char name[32];
        kernel_function function;
        snprintf(name, sizeof name, "k%zu", next);
        void *address = dlsym(handle, name);
        assert_non_null(address);
        memcpy(&function, &address, sizeof function);
        run_kernel(&r, kernels[next++], function);
    }
    size_t n = graph->outputs.len;
    col_tensor *results = COL_NEW_ARRAY(arena, col_tensor, n + graph->vars.len);
    for (size_t i = 0; i < n; i++) results[i] = read_value(&r, graph->outputs.data[i].value);
    memcpy(results + n, vars, sizeof *vars * graph->vars.len);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_ASSIGN) continue;
        const col_var *var = col_graph_find_var(graph, col_node_text(node, COL_ATTR_VARIABLE));
        results[n + var->index] = read_value(&r, col_node_operand(node, 0));
    }
    if (handle) dlclose(handle);
    return results;
}

col_tensor *kernel_run_reference(const col_graph *graph, const col_tensor *vars, col_arena *arena)
{
    size_t n = graph->outputs.len;
    col_tensor *results = COL_NEW_ARRAY(arena, col_tensor, n + graph->vars.len);
    for (size_t i = 0; i < graph->vars.len; i++) {
        size_t size = sizeof(double) * (size_t)col_shape_numel(vars[i].type.shape);
        results[n + i] = (col_tensor){vars[i].type, col_arena_copy(arena, vars[i].data, size)};
    }
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, results + n, arena, &evaluation));
    memcpy(results, evaluation.outputs, sizeof *results * n);
    return results;
}

double kernel_run_distance(const col_tensor *a, const col_tensor *b)
{
    assert_true(col_type_equal(a->type, b->type));
    int64_t numel = col_shape_numel(a->type.shape);
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < numel; i++) {
        if (isfinite(b->data[i])) largest = fmax(largest, fabs(b->data[i]));
    }
    for (int64_t i = 0; i < numel; i++) {
        double x = a->data[i], y = b->data[i];
        if (x == y || (isnan(x) && isnan(y))) continue;
        if (!isfinite(x) || !isfinite(y)) return INFINITY;
        worst = fmax(worst, fabs(x - y) / fmax(fabs(y), largest / 100));
    }
    return worst;
}
