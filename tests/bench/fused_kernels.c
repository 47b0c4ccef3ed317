/* Bandwidth of fused kernels on one thread, beside memcpy of as many bytes. Bytes are those that the kernel
 * must move (col_kernel.bytes), memcpy's are read and written ones. Times are processor time of the thread,
 * the best of several runs, so that other work on the machine disturbs little. With an argument: only the
 * cases whose name holds it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "codegen/x86.h"
#include "frontend/parse.h"
#include "ir/units.h"
#include "passes/pass.h"

typedef struct bench_case {
    const char *name, *text;
    bool train;
} bench_case;

#define MODEL "model m()\n"
static const bench_case cases[] = {
    {"copy", MODEL "input x : f32[8388608]\noutput y = x * 1.5\n", false},
    {"add_bias", MODEL "input x : f32[4096, 2304]\ninput b : f32[2304]\noutput y = x + b\n", false},
    {"residual_norm",
     MODEL "input x, r : f32[4096, 768]\ninput g, b : f32[768]\ns = x + r\noutput s = s\noutput y = "
           "layer_norm(s, g, b)\n",
     false},
    {"norm_training",
     MODEL "param x : f32[4096, 768] ~ zeros\nparam g, b : f32[768] ~ zeros\ninput w : f32[4096, 768]\n"
           "output loss = sum(layer_norm(x, g, b) * w, axes = [0, 1])\n",
     true},
    {"softmax", MODEL "input x : f32[4096, 1024]\noutput y = softmax(x, axis = -1)\n", false},
    {"gelu", MODEL "input x : f32[4096, 3072]\ninput b : f32[3072]\noutput y = gelu_tanh(x + b)\n", false},
    {"gelu_erf", MODEL "input x : f32[4096, 3072]\ninput b : f32[3072]\noutput y = gelu(x + b)\n", false},
    {"gelu_training",
     MODEL "param x : f32[256, 3072] ~ zeros\nparam b : f32[3072] ~ zeros\ninput w : f32[256, 3072]\n"
           "output loss = sum(gelu_tanh(x + b) * w, axes = [0, 1])\n",
     true},
    {"dropout",
     MODEL
     "input x : f32[4096, 3072]\ninput rng : i64[2]\noutput y = dropout(x, rng, rate = 0.1, salt = 1)\n",
     false},
    {"loss",
     MODEL "param x : f32[256, 50257] ~ zeros\ninput k : i32[256]\noutput loss = cross_entropy(x, k)\n",
     true},
    {"bias_gradient", MODEL "input x : f32[4096, 3072]\noutput y = sum(x, axes = [0])\n", false},
    {"sum_of_squares", MODEL "input x : f32[3072, 4096]\noutput y = sum(x * x, axes = [0, 1])\n", false},
    {"adamw",
     MODEL "input p, g, m, v : f32[8388608]\ninput a, b, c : f32[]\nn = m * 0.9 + g * a * 0.1\n"
           "w = v * 0.999 + g * a * g * a * 0.001\noutput n = n\noutput w = w\n"
           "output q = p * b - n / (sqrt(w) * c + 0.00000001) * a\n",
     false},
    {"embedding",
     MODEL "input t : f32[50257, 768]\ninput p : f32[1024, 768]\ninput i : i32[4, 1024]\n"
           "output y = embedding(t, i) + p\n",
     false},
    {"transpose", MODEL "input x : f32[768, 50257]\noutput y = transpose(x, perm = [1, 0])\n", false},
    {"heads", MODEL "input x : f32[4, 1024, 12, 64]\noutput y = transpose(x, perm = [0, 2, 1, 3])\n", false},
    {"narrow",
     MODEL "input x : bf16[8388608]\noutput y = cast(cast(x, dtype = \"f32\") * 2.0, dtype = \"bf16\")\n",
     false},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(col_status status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", col_error_message(status));
    exit(1);
}

static col_graph *make_graph(const bench_case *c, col_arena *arena)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){.name = c->name, .text = c->text, .size = strlen(c->text)};
    col_graph *graph;
    check(col_parse_model(source, NULL, arena, &graph));
    static const char *const names[] = {"autodiff", "lower", "fold", "cse", "dce",
                                        "legalize", "cse",   "dce",  "fuse"};
    const col_pass *passes[COL_COUNT(names)];
    size_t n = 0;
    for (size_t i = c->train ? 0 : 1; i < COL_COUNT(names); i++) passes[n++] = col_pass_find(names[i]);
    col_pass_options options = col_pass_options_default();
    check(col_passes_run(graph, passes, n, &options, NULL));
    return graph;
}

/* Bytes of a value that the kernels share; small numbers, so that indices are in range and nothing overflows.
 */
static void *bytes_of(void **bytes, const col_value *value)
{
    size_t size = (size_t)col_type_bytes(value->type);
    if (bytes[value->id]) return bytes[value->id];
    bytes[value->id] = aligned_alloc(64, (size + 127) / 64 * 64);
    memset(bytes[value->id], 0, size + 64);
    for (size_t i = 0; value->type.dtype == COL_F32 && i < size / 4; i++)
        ((float *)bytes[value->id])[i] = (float)(i * 7919 % 1000) / 500 - 1;
    return bytes[value->id];
}

typedef void (*kernel_function)(void *const *args, int64_t begin, int64_t end);

static double best_time(kernel_function run, void *const *args, int64_t range)
{
    double best = 1e9, total = 0;
    for (int i = 0; i < 30 && (total < 1.0 || i < 3); i++) {
        double start = now();
        run(args, 0, range);
        double seconds = now() - start;
        best = COL_MIN(best, seconds);
        total += seconds;
    }
    return best;
}

static double copy_time(size_t bytes)
{
    char *from = malloc(bytes / 2 + 64), *to = malloc(bytes / 2 + 64);
    memset(from, 1, bytes / 2);
    double best = 1e9;
    for (int i = 0; i < 10; i++) {
        double start = now();
        memcpy(to, from, bytes / 2);
        __asm__ volatile("" : : "r"(to) : "memory");
        best = COL_MIN(best, now() - start);
    }
    free(from);
    free(to);
    return best;
}

static void run_case(const bench_case *c, const char *features)
{
    col_arena *arena = col_arena_create();
    col_graph *graph = make_graph(c, arena);
    const col_units *units = col_units_of(graph, arena);
    const col_kernel **kernels = COL_NEW_ARRAY(arena, const col_kernel *, units->count);
    size_t count = 0;
    for (uint32_t u = 0; u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        if (unit->nodes[0]->group >= 0)
            kernels[count++] =
                col_kernel_build((const col_node *const *)unit->nodes, unit->node_count, NULL, arena);
    }
    col_x86_code code;
    check(col_x86_compile(kernels, count, &(col_x86_options){.features = features}, arena, &code));
    int fd = memfd_create("kernels", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, code.elf, code.elf_size) != (ssize_t)code.elf_size) exit(1);
    void *handle = dlopen(path, RTLD_NOW), **bytes = COL_NEW_ARRAY(arena, void *, graph->next_value_id);
    close(fd);
    if (!handle) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        const col_kernel *k = kernels[i];
        void *args[64], *address;
        for (int a = 0; a < k->input_count; a++)
            args[a] = (char *)bytes_of(bytes, k->inputs[a].value) +
                      k->inputs[a].offset * (int64_t)col_dtype_size(k->inputs[a].value->type.dtype);
        for (int a = 0; a < k->output_count; a++)
            args[k->input_count + a] = bytes_of(bytes, k->outputs[a].value);
        char symbol[32];
        snprintf(symbol, sizeof symbol, "k%zu", i);
        kernel_function run;
        address = dlsym(handle, symbol);
        memcpy(&run, &address, sizeof run);
        double seconds = best_time(run, args, k->range);
        if (k->bytes < 1e5) continue;
        double copy = copy_time((size_t)k->bytes);
        col_str text = {0};
        col_kernel_print(k, &text);
        *strchr(text.data, '\n') = '\0';
        printf("%-16s %8.3f ms %7.2f GB/s  memcpy %7.2f  ratio %5.2f   %s\n", c->name, seconds * 1e3,
               k->bytes / seconds * 1e-9, k->bytes / copy * 1e-9, copy / seconds, text.data);
        col_str_fini(&text);
    }
    for (uint32_t i = 0; i < graph->next_value_id; i++) free(bytes[i]);
    dlclose(handle);
    col_arena_destroy(arena);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        if (argc < 2 || strstr(cases[i].name, argv[1])) run_case(&cases[i], argc > 2 ? argv[2] : NULL);
    }
    return 0;
}
