#include "frontend/probe_models.h"

#include <string.h>

#include "frontend/compile.h"
#include "frontend/unnamed.h"
#include "ir/plan/plan_io.h"

/* Layers of the widths of two transformers, long and short, a head with its loss, and the blocks of a residual network at
 * its largest and smallest images; trained, so that gradients and the update are there too. */
static const char text[] =
    "model probe(batch = 16, images = 128)\n"
    "input ids, labels : i32[batch, 1024]\n"
    "input short : f32[4, 256, 768]\n"
    "input wide : f32[floor_div(batch, 2), 1024, 1600]\n"
    "param table : f32[32768, 768] ~ normal(0, 0.02)\n"
    "block self_attention(x, width, heads) {\n"
    "  q, k, v = split(linear(x, 3 * width) @ c_attn, parts = 3, axis = -1)\n"
    "  return linear(attention(q, k, v, heads = heads, causal = true), width) @ c_proj\n"
    "}\n"
    "block mlp(x, width) {\n"
    "  return linear(gelu_tanh(linear(x, 4 * width) @ c_fc), width) @ c_proj\n"
    "}\n"
    "block layer(x, width, heads) {\n"
    "  x = x + self_attention(layer_norm(x) @ ln_1, width, heads) @ attn\n"
    "  return x + mlp(layer_norm(x) @ ln_2, width) @ mlp\n"
    "}\n"
    "block convolution(x, n, kernel, stride) {\n"
    "  return relu(batch_norm(conv(x, n, kernel, stride = stride, padding = floor_div(kernel, 2), bias = "
    "false) @ c) @ bn)\n"
    "}\n"
    "block residual(x, n, stride) {\n"
    "  y = convolution(x, floor_div(n, 4), 1, 1) @ a\n"
    "  y = convolution(y, floor_div(n, 4), 3, stride) @ b\n"
    "  return convolution(y, n, 1, 1) @ c + convolution(x, n, 1, stride) @ d\n"
    "}\n"
    "x = layer(embedding(table, ids), 768, 12) @ h\n"
    "logits = einsum(layer_norm(x) @ ln_f, table, equation = \"btc,vc->btv\") @ head\n"
    "s = layer(short, 768, 12) @ s\n"
    "w = layer(wide, 1600, 25) @ w\n"
    "part = mean(s * s, axes = [0, 1, 2]) + mean(w * w, axes = [0, 1, 2])\n"
    "if images {\n"
    "  input image : f32[images, 3, 224, 224]\n"
    "  i = max_pool(convolution(image, 64, 7, 2) @ stem, kernel = 3, stride = 2, padding = 1) @ pool\n"
    "  i = residual(i, 256, 1) @ r1\n"
    "  i = residual(i, 512, 2) @ r2\n"
    "  i = residual(i, 1024, 2) @ r3\n"
    "  i = residual(i, 2048, 2) @ r4\n"
    "  part = part + mean(i * i, axes = [0, 1, 2, 3])\n"
    "}\n"
    "output loss = cross_entropy(logits, labels) + part\n";

/* In fp32 it is smaller, and without convolutions, which may take many times longer. */
static const char *const variants[COL_PROBE_PLANS][3] = {
    {"--precision=bf16", "--batch=16", "--set=images=128"},
    {"--precision=fp32", "--batch=2", "--set=images=0"}};

static col_status compile(const char *target, const char *const variant[3], col_arena *arena,
                          const char **out_path)
{
    static const col_source source = {"probe", text, sizeof text - 1};
    const col_option *table = col_compile_option_table;
    char *argv[4] = {col_arena_printf(arena, "--target=%s", target)};
    col_options options;
    col_compile_options compile = {.model_path = source.name, .source = &source, .use = COL_USE_TRAIN};
    col_plan *plan;
    char *path;
    for (int i = 0; i < 3; i++) argv[i + 1] = col_arena_strdup(arena, variant[i]);
    COL_TRY(col_options_parse(&table, &col_compile_option_count, 1, COL_COUNT(argv), argv, arena, &options));
    COL_TRY(col_compile_options_read(&options, arena, &compile));
    COL_TRY(col_compile(&compile, arena, &plan));
    COL_TRY(col_unnamed_begin(arena, &path));
    return col_unnamed_end(col_plan_write(plan, path), path, arena, out_path);
}

col_status col_probe_plans(const char *target, col_arena *arena, const char *out_paths[COL_PROBE_PLANS])
{
    for (int i = 0; i < COL_PROBE_PLANS; i++) COL_TRY(compile(target, variants[i], arena, &out_paths[i]));
    return NULL;
}
