/* Writes plans of the bigram model, so that the executor can be tested without the compiler:
 *
 *     bigram_plan KERNELS.so step|micro|generate|forward OUT.plan */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"
#include "ir/plan/plan_io.h"
#include "tests/cts/plan_maker.h"
#include "tests/parity/bigram.h"

#define DIMS(...)                                                                                            \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[])                                          \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define VIEWS(...)                                                                                           \
    sizeof((col_plan_view *[]){__VA_ARGS__}) / sizeof(col_plan_view *), (col_plan_view *[])                  \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

#define INPUT COL__PLAN__VARIABLE_KIND__INPUT
#define PARAM COL__PLAN__VARIABLE_KIND__PARAM
#define STATE COL__PLAN__VARIABLE_KIND__STATE
#define F32   COL__PLAN__DTYPE__F32
#define I32   COL__PLAN__DTYPE__I32
#define I64   COL__PLAN__DTYPE__I64

enum { V = BIGRAM_VOCAB };

static col_plan_view *scalar(plan_maker *m, Col__Plan__VariableKind kind, const char *name,
                             Col__Plan__Dtype dtype)
{
    return maker_variable(m, kind, name, dtype, 0, NULL);
}

static col_plan_view *table(plan_maker *m, Col__Plan__VariableKind kind, const char *name)
{
    return maker_variable(m, kind, name, F32, DIMS(V, V));
}

static col_plan_view *tokens(plan_maker *m, const char *name, int64_t rows, int64_t columns)
{
    col_plan_view *view = maker_variable(m, INPUT, name, I32, DIMS(rows, columns));
    if (strcmp(name, "labels")) m->variables.data[m->variables.len - 1]->index_bound = V;
    return view;
}

static void kernel(plan_maker *m, const char *name, const char *symbol, size_t reads, col_plan_view *const *r,
                   size_t writes, col_plan_view *const *w)
{
    col_plan_instruction *in = maker_instruction(m, name, reads, r, writes, w);
    Col__Plan__Kernel *k = MAKER_KIND(m, in, KERNEL, kernel, Kernel);
    k->symbol = maker_text(m, symbol);
    k->range = 1;
}

static void random_table(plan_maker *m)
{
    col_plan_variable *v = m->variables.data[m->variables.len - 1];
    v->init = COL__PLAN__INIT_KIND__NORMAL;
    v->init_b = 0.5;
}

static void make_training(plan_maker *m, bool accumulates)
{
    col_plan_view *ids = tokens(m, "input_ids", BIGRAM_BATCH, BIGRAM_SEQ);
    col_plan_view *labels = tokens(m, "labels", BIGRAM_BATCH, BIGRAM_SEQ);
    col_plan_view *rng = maker_variable(m, INPUT, "rng", I64, DIMS(2));
    col_plan_view *lr = scalar(m, INPUT, "lr", F32), *total = scalar(m, INPUT, "total_steps", I32);
    col_plan_view *weight = table(m, PARAM, "bigram.weight");
    random_table(m);
    col_plan_view *momentum = table(m, STATE, "bigram.weight.momentum");
    col_plan_view *step = scalar(m, STATE, "optimizer.step", I32);
    col_plan_view *sum = accumulates ? table(m, STATE, "bigram.weight.grad") : NULL;
    col_plan_view *micro = accumulates ? scalar(m, STATE, "optimizer.micro", I32) : NULL;
    col_plan_view *gradient = maker_view(m, F32, DIMS(V, V)), *loss = maker_view(m, F32, 0, NULL);
    col_plan_view *norm = maker_view(m, F32, 0, NULL), *rate = maker_view(m, F32, 0, NULL);
    for (int whole = accumulates ? 0 : 1; whole < 2; whole++) {
        kernel(m, "bigram", "bigram_backward", VIEWS(ids, labels, rng, weight), VIEWS(loss, gradient));
        if (accumulates) kernel(m, "accumulate", "bigram_accumulate", VIEWS(gradient), VIEWS(sum, micro));
        if (whole) {
            kernel(m, "update", "bigram_update", VIEWS(sum ? sum : gradient, lr, total),
                   VIEWS(weight, momentum, step, norm, rate));
            maker_output(m, "grad_norm", norm);
            maker_output(m, "learning_rate", rate);
        }
        maker_output(m, "loss", loss);
        maker_program(m, whole ? "step" : "micro");
    }
    m->plan->accumulate = accumulates ? BIGRAM_ACCUMULATE : 1;
    kernel(m, "bigram", "bigram_eval", VIEWS(ids, labels, weight), VIEWS(loss));
    maker_output(m, "loss", loss);
    maker_program(m, "eval");
    m->plan->model_flops = 6.0 * V * BIGRAM_BATCH * BIGRAM_SEQ;
}

static void make_generation(plan_maker *m)
{
    col_plan_view *one = tokens(m, "decode.input_ids", 1, 1);
    col_plan_view *chunk = tokens(m, "prefill.input_ids", 1, BIGRAM_CHUNK);
    col_plan_view *position = scalar(m, INPUT, "position", I32);
    col_plan_view *weight = table(m, PARAM, "bigram.weight");
    col_plan_view *cache = maker_variable(m, STATE, "cache.0.tokens", I32, DIMS(1, BIGRAM_CONTEXT));
    col_plan_view *logits = maker_view(m, F32, DIMS(1, 1, V));
    kernel(m, "remember", "bigram_remember", VIEWS(chunk, position), VIEWS(cache));
    maker_program(m, "prefill");
    kernel(m, "bigram", "bigram_decode", VIEWS(one, position, weight), VIEWS(cache, logits));
    maker_output(m, "logits", logits);
    maker_program(m, "decode");
}

static void make_forward(plan_maker *m)
{
    col_plan_view *ids = tokens(m, "input_ids", BIGRAM_BATCH, BIGRAM_SEQ);
    col_plan_view *labels = tokens(m, "labels", BIGRAM_BATCH, BIGRAM_SEQ);
    col_plan_view *weight = table(m, PARAM, "bigram.weight");
    random_table(m);
    col_plan_view *loss = maker_view(m, F32, 0, NULL),
                  *echo = maker_view(m, I32, DIMS(BIGRAM_BATCH, BIGRAM_SEQ));
    kernel(m, "bigram", "bigram_eval", VIEWS(ids, labels, weight), VIEWS(loss));
    col_plan_instruction *copy = maker_instruction(m, "echo", VIEWS(ids), VIEWS(echo));
    (void)MAKER_KIND(m, copy, COPY, copy, Copy);
    maker_output(m, "loss", loss);
    maker_output(m, "echo", echo);
    maker_program(m, "forward");
}

static col_status make(col_arena *arena, const char *kernels, const char *use, const char *path)
{
    bool trains = !strcmp(use, "step") || !strcmp(use, "micro");
    plan_maker m = maker_start(arena, "cpu", trains ? "train" : use);
    char *image;
    size_t size;
    COL_TRY(col_file_read(arena, kernels, 0, &image, &size));
    Col__Plan__CodeObject *object = COL_NEW(arena, Col__Plan__CodeObject);
    col__plan__code_object__init(object);
    object->target = maker_text(&m, "x86_64-elf-so");
    object->image = (ProtobufCBinaryData){size, (uint8_t *)image};
    m.plan->n_objects = 1;
    m.plan->objects = &object;
    if (trains)
        make_training(&m, !strcmp(use, "micro"));
    else if (!strcmp(use, "generate"))
        make_generation(&m);
    else
        make_forward(&m);
    return col_plan_write(maker_finish(&m), path);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    col_arena *arena = col_arena_create();
    col_status status = make(arena, argv[1], argv[2], argv[3]);
    int code = (int)col_error_code(status);
    if (status) fprintf(stderr, "error: %s\n", col_error_message(status));
    col_error_free(status);
    col_arena_destroy(arena);
    return code;
}
