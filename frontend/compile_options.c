/* The options that say how a model is compiled, shared by every command that compiles. */
#include <stdio.h>
#include <string.h>

#include "frontend/compile.h"
#include "frontend/machine.h"
#include "frontend/recipe.h"
#include "ir/base/vec.h"
#include "runtime/command_options.h"

const col_option col_compile_option_table[] = {
    {"set", "KEY=VALUE", "set a hyperparameter of the model; repeats", true},
    {"recipe", "FILE", "YAML file of options; the command line wins", false},
    {"batch", "N", "samples of a micro-batch (the model's `batch`)", false},
    {"seq", "N", "tokens of a sample (the model's `seq`)", false},
    {"target", "NAME", "cpu (default) or cuda", false},
    {"machine", "NAME|FILE",
     "plan for this machine: cpu:N, h200, h200x4, h100-dgx:N, a100-80g:N or a file (default: cpu; h200 for "
     "cuda)",
     false},
    {"mesh", "AxB", "split over so many devices (default: one)", false},
    {"memory", "SIZE", "limit of a device: 40GiB, 512MB, or 80% of what the machine's have", false},
    {"plan", "NAME", "auto (default), single, ddp, zero1, zero2, zero3, tp1d, tp2d, tp2.5d, tp3d or sp",
     false},
    {"checkpoint", "NAME",
     "what backward recomputes: auto (default: what --memory asks for), none, all or sqrt", false},
    {"loss-chunks", "N", "chunks of rows that the loss runs in, at most (default: as many as pay; 1: none)",
     false},
    {"overlap", "NAME", "of communication with computation: auto (default; where the machine can), on or off",
     false},
    {"solve-seconds", "X", "longest search for a faster way to split a program (default 20)", false},
    {"precision", "NAME",
     "fp32 (default), bf16 or fp16: products and attention in 16 bits; on the CPU rounded to them", false},
    {"init-scale", "X", "of the loss with fp16, as torch.amp.GradScaler's init_scale (default 65536)", false},
    {"growth-factor", "X", "of that scale after --growth-interval good steps (default 2)", false},
    {"backoff-factor", "X", "of that scale after a gradient that overflows (default 0.5)", false},
    {"growth-interval", "N", "good steps after which that scale grows (default 2000)", false},
    {"optimizer", "NAME", "adamw (default), adam, sgd, lars or lamb", false},
    {"accumulate", "N", "micro-batches of a step (default 1)", false},
    {"schedule", "NAME", "learning rate after the warm-up: cosine (default), linear, square or constant",
     false},
    {"weight-decay", "X", "of parameters of rank 2 and more (default 0.1)", false},
    {"clip", "X", "global gradient norm (default 1; 0: no clipping)", false},
    {"beta1", "X", "Adam's and lamb's first decay (default 0.9)", false},
    {"beta2", "X", "Adam's and lamb's second decay (default 0.999)", false},
    {"eps", "X", "epsilon of adam (default 1e-8), lamb (1e-6) and lars (0)", false},
    {"momentum", "X", "of sgd and lars (default 0.9)", false},
    {"trust", "X", "coefficient of lars's trust ratio (default 1e-3)", false},
    {"cpu", "LEVEL", "generate code for sse2, avx2 or avx512 (default: this machine)", false},
    {"gpu", "LEVEL", "generate code for sm_80, sm_86, sm_89, sm_90 or sm_90a and later (default: sm_80)",
     false},
    {"print-after", "PASS", "print the graph after the pass (or `parse`, or `all`)", false},
    {"stop-after", "PASS", "end the compilation after the pass", false},
    {"dump-dir", "DIR", "write the graph after every pass, the kernels and their LLVM IR", false},
    {"time-passes", NULL, "print the time of every pass", false},
};
const size_t col_compile_option_count = COL_COUNT(col_compile_option_table);

bool col_compile_has_option(const col_option *option)
{
    return option >= col_compile_option_table && option < col_compile_option_table + col_compile_option_count;
}

enum {
    MOST_RANKS = 1 << 20,
    GPU_RESULTS = 1 << 16,     /* reductions to fewer leave threads without work, ... */
    GPU_ROW_RESULTS = 1 << 10, /* ... or of fewer rows, which have many threads each, ... */
    GPU_ELEMENTS = 1 << 12,    /* ... where each sums more, ... */
    GPU_ROWS = 1 << 9,         /* ... or a column of so many rows */
    GPU_ROW_BYTES = 1 << 12    /* that a warp keeps in registers */
};

static const char *const uses[] = {"train", "forward", "generate"};
const col_option col_compile_use_option = {
    "for", "USE", "train (default for a model with a loss), forward or generate", false};

static col_status read_settings(const col_options *options, col_arena *arena, col_parse_options *out)
{
    COL_VEC(col_parse_setting) list = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (strcmp(v->option->name, "set")) continue;
        const char *equals = strchr(v->value, '=');
        if (!equals || equals == v->value) {
            return col_error_make(COL_BAD_INPUT, "--set: '%s' is not KEY=VALUE", v->value);
        }
        col_parse_setting setting = {col_arena_strndup(arena, v->value, (size_t)(equals - v->value)),
                                     equals + 1};
        col_vec_push(arena, &list, setting);
    }
    out->settings = list.data;
    out->setting_count = list.len;
    COL_TRY(col_options_int(options, "batch", 1, INT32_MAX, &out->batch));
    return col_options_int(options, "seq", 1, INT32_MAX, &out->seq);
}

static col_status read_training(const col_options *options, col_compile_options *out)
{
    static const char *const optimizers[] = {
        [COL_OPTIMIZER_ADAMW] = "adamw", [COL_OPTIMIZER_ADAM] = "adam", [COL_OPTIMIZER_SGD] = "sgd",
        [COL_OPTIMIZER_LARS] = "lars",   [COL_OPTIMIZER_LAMB] = "lamb",
    };
    static const char *const schedules[] = {[COL_LR_CONSTANT] = "constant",
                                            [COL_LR_LINEAR] = "linear",
                                            [COL_LR_COSINE] = "cosine",
                                            [COL_LR_SQUARE] = "square"};
    int optimizer = COL_OPTIMIZER_ADAMW, schedule = COL_LR_COSINE;
    col_pass_options *p = &out->passes;
    COL_TRY(col_options_choice(options, "optimizer", optimizers, COL_COUNT(optimizers), &optimizer));
    COL_TRY(col_options_choice(options, "schedule", schedules, COL_COUNT(schedules), &schedule));
    p->optimizer = (col_optimizer)optimizer;
    p->lr_schedule = (col_lr_schedule)schedule;
    out->optimizer_name = optimizers[optimizer];
    COL_TRY(col_options_int(options, "accumulate", 1, 1 << 20, &p->accumulate));
    COL_TRY(col_options_double(options, "weight-decay", 0, 1e3, &p->weight_decay));
    COL_TRY(col_options_double(options, "clip", 0, 1e30, &p->clip_norm));
    COL_TRY(col_options_double(options, "beta1", 0, 0.999999999, &p->beta1));
    COL_TRY(col_options_double(options, "beta2", 0, 0.999999999, &p->beta2));
    if (optimizer == COL_OPTIMIZER_LAMB) p->eps = 1e-6;
    if (optimizer == COL_OPTIMIZER_LARS) p->eps = 0;
    COL_TRY(col_options_double(options, "eps", optimizer == COL_OPTIMIZER_LARS ? 0 : 1e-30, 1, &p->eps));
    COL_TRY(col_options_double(options, "trust", 1e-30, 1, &p->trust));
    return col_options_double(options, "momentum", 0, 0.999999999, &p->momentum);
}

static col_status read_loss_scale(const col_options *options, col_pass_options *p)
{
    COL_TRY(col_options_double(options, "init-scale", 1, 0x1p100, &p->init_scale));
    COL_TRY(col_options_double(options, "growth-factor", 1, 0x1p20, &p->growth_factor));
    COL_TRY(col_options_double(options, "backoff-factor", 0x1p-20, 1, &p->backoff_factor));
    return col_options_int(options, "growth-interval", 1, INT32_MAX, &p->growth_interval);
}

/* "40GiB", or "80%" of what a rank has. */
static col_status read_memory(const col_options *options, col_compile_options *out)
{
    const char *text = col_options_get(options, "memory");
    size_t size = text ? strlen(text) : 0;
    uint64_t bytes = 0;
    double percent = 0;
    if (!text) return NULL;
    if (!size || text[size - 1] != '%') {
        COL_TRY(col_error_annotate(col_parse_bytes(text, &bytes), "--memory"));
        out->memory_bytes = (double)bytes;
        return NULL;
    }
    char number[COL_HUMAN_SIZE];
    snprintf(number, sizeof number, "%.*s", (int)COL_MIN(size - 1, sizeof number - 1), text);
    COL_TRY(col_parse_double("--memory, in percent", number, 0, 100, &percent));
    out->memory_bytes = out->machine.memory_bytes * percent / 100;
    if (out->memory_bytes >= 1) return NULL;
    return col_error_make(COL_BAD_INPUT, "--memory: %s leaves no memory; give more, as 80%% or 40GiB", text);
}

/* The machine, the part of it that is used, and how. */
static col_status read_machine(const col_options *options, col_compile_options *out)
{
    static const char *const plans[] = {"auto", "single", "ddp",    "zero1", "zero2", "zero3",
                                        "tp1d", "tp2d",   "tp2.5d", "tp3d",  "sp"};
    const char *name = col_options_get(options, "machine"), *mesh = col_options_get(options, "mesh");
    int plan = 0;
    const char *gpu = col_options_has(options, "mesh") ? "h200x4" : "h200";
    COL_TRY(col_machine_read(name ? name : out->is_cuda ? gpu : "cpu", &out->machine));
    out->mesh = (col_mesh){0};
    if (mesh && !col_mesh_parse(mesh, &out->mesh))
        return col_error_make(
            COL_BAD_INPUT,
            "--mesh: '%s' is no mesh; write the devices along each of at most %d axes, as 4 or 2x2", mesh,
            COL_MESH_RANK);
    int64_t ranks = 1, devices = COL_MIN(col_machine_devices(&out->machine), MOST_RANKS);
    for (int i = 0; i < out->mesh.rank && ranks <= MOST_RANKS; i++) ranks *= out->mesh.dims[i];
    if (ranks > devices)
        return col_error_make(COL_BAD_INPUT,
                              "--mesh: %s is too large; the machine %s takes at most %lld ranks", mesh,
                              out->machine.name, (long long)devices);
    col_machine_links(&out->machine, &out->mesh);
    COL_TRY(read_memory(options, out));
    out->solve_seconds = 20;
    COL_TRY(col_options_double(options, "solve-seconds", 0.01, 1e6, &out->solve_seconds));
    COL_TRY(col_options_choice(options, "plan", plans, COL_COUNT(plans), &plan));
    out->plan_name = plans[plan];
    static const char *const overlaps[] = {
        [COL_OVERLAP_AUTO] = "auto", [COL_OVERLAP_ON] = "on", [COL_OVERLAP_OFF] = "off"};
    int overlap = COL_OVERLAP_AUTO;
    COL_TRY(col_options_choice(options, "overlap", overlaps, COL_COUNT(overlaps), &overlap));
    out->passes.overlap = (col_overlap)overlap;
    if (plan > 1 && ranks == 1)
        return col_error_make(COL_BAD_INPUT,
                              "--plan: %s splits over several devices; give a --mesh of more than one",
                              plans[plan]);
    return NULL;
}

static col_status read_checkpoint(const col_options *options, col_compile_options *out)
{
    static const char *const names[] = {"auto", "none", "all", "sqrt"};
    int name = 0;
    COL_TRY(col_options_choice(options, "checkpoint", names, COL_COUNT(names), &name));
    out->checkpoint = names[name];
    return col_options_int(options, "loss-chunks", 1, 64, &out->passes.loss_chunks);
}

static col_status check_pass_name(const char *option, const char *name)
{
    if (!name || !strcmp(name, "parse") || (!strcmp(option, "print-after") && !strcmp(name, "all")) ||
        col_pass_find(name)) {
        return NULL;
    }
    const char *names[64];
    size_t count;
    const col_pass *passes = col_passes(&count);
    COL_ASSERT(count <= COL_COUNT(names));
    for (size_t i = 0; i < count; i++) names[i] = passes[i].name;
    const char *near = col_suggest(name, names, count);
    return col_error_make(COL_BAD_INPUT, "--%s: there is no pass '%s'%s%s%s", option, name,
                          near ? "; did you mean '" : "", near ? near : "",
                          near ? "'?" : "; 'colc opt --help' lists them");
}

col_status col_compile_refuse_sizes(const col_options *options)
{
    static const char *const sizes[] = {"batch", "seq"};
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        if (!col_options_has(options, sizes[i])) continue;
        return col_error_make(
            COL_BAD_INPUT,
            "--%s does not apply to generation, which takes one text, token by token: leave "
            "it out (--max-tokens bounds the text)",
            sizes[i]);
    }
    return NULL;
}

col_status col_compile_recipe(col_options *options, col_arena *arena)
{
    const char *recipe = col_options_get(options, "recipe");
    if (!recipe) return NULL;
    const col_option *tables[16] = {
        col_compile_option_table}; /* of every command: one recipe serves them all */
    size_t sizes[16] = {col_compile_option_count}, count;
    const col_command_spec *specs = col_command_specs(&count);
    COL_ASSERT(count < COL_COUNT(tables));
    for (size_t i = 0; i < count; i++) {
        tables[i + 1] = specs[i].options;
        sizes[i + 1] = specs[i].option_count;
    }
    return col_recipe_apply(recipe, tables, sizes, count + 1, options, arena);
}

col_status col_compile_options_read(const col_options *options, col_arena *arena, col_compile_options *out)
{
    static const char *const targets[] = {"cpu", "cuda"}, *const precisions[] = {"fp32", "bf16", "fp16"};
    static const col_dtype types[] = {COL_F32, COL_BF16, COL_F16};
    static const col_precision rates[] = {COL_PRECISION_FP32, COL_PRECISION_BF16, COL_PRECISION_FP16};
    int precision = 0, target = 0;
    out->passes = col_pass_options_default();
    COL_TRY(read_settings(options, arena, &out->parse));
    COL_TRY(read_training(options, out));
    COL_TRY(col_options_choice(options, "target", targets, COL_COUNT(targets), &target));
    COL_TRY(col_options_choice(options, "precision", precisions, COL_COUNT(precisions), &precision));
    out->is_cuda = target == 1;
    out->passes.precision = types[precision];
    out->passes.wide_products = !out->is_cuda;
    COL_TRY(read_loss_scale(options, &out->passes));
    if (out->is_cuda) {
        out->passes.few_results = GPU_RESULTS;
        out->passes.few_rows = GPU_ROW_RESULTS;
        out->passes.many_elements = GPU_ELEMENTS;
        out->passes.many_rows = GPU_ROWS;
        out->passes.channels_last = precision != 0;
        out->passes.row_bytes = GPU_ROW_BYTES;
    }
    COL_TRY(read_machine(options, out));
    COL_TRY(read_checkpoint(options, out));
    if (out->is_cuda) out->machine.precision = rates[precision];
    out->given = options;
    out->gpu_processor = col_options_get(options, "gpu");
    out->cpu_features = col_options_get(options, "cpu");
    out->print_after = col_options_get(options, "print-after");
    out->stop_after = col_options_get(options, "stop-after");
    out->dump_dir = col_options_get(options, "dump-dir");
    out->time_passes = col_options_has(options, "time-passes");
    out->threads = 2;
    COL_TRY(check_pass_name("print-after", out->print_after));
    return check_pass_name("stop-after", out->stop_after);
}

col_status col_compile_use_read(const col_options *options, col_arena *arena, col_compile_options *out)
{
    int use = -1;
    COL_TRY(col_options_choice(options, "for", uses, COL_COUNT(uses), &use));
    if (use < 0) {
        col_graph *graph;
        COL_TRY(col_compile_parse(out, 0, 0, arena, &graph));
        use = col_graph_find_output(graph, "loss") ? COL_USE_TRAIN : COL_USE_FORWARD;
    }
    out->use = (col_use)use;
    return NULL;
}

/* Options that say what to show, or that stand for others, change no program. */
static bool changes_programs(const char *name)
{
    static const char *const others[] = {"recipe", "print-after", "stop-after", "dump-dir", "time-passes"};
    for (size_t i = 0; i < COL_COUNT(others); i++) {
        if (!strcmp(name, others[i])) return false;
    }
    return true;
}

void col_compile_options_record(const col_compile_options *options, col_arena *arena, col_plan *plan)
{
    COL_VEC(Col__Plan__Option *) list = {0};
    for (size_t i = 0; options->given && i < options->given->values.len; i++) {
        const col_option_value *v = &options->given->values.data[i];
        if (!col_compile_has_option(v->option) || !changes_programs(v->option->name)) continue;
        Col__Plan__Option *option = COL_NEW(arena, Col__Plan__Option);
        col__plan__option__init(option);
        option->name = (char *)(uintptr_t)v->option->name;
        option->value = (char *)(uintptr_t)v->value;
        col_vec_push(arena, &list, option);
    }
    plan->use = (char *)(uintptr_t)uses[options->use];
    plan->source->n_options = list.len;
    plan->source->options = list.data;
}

col_status col_compile_options_of_plan(const col_plan *plan, col_arena *arena, col_compile_options *out)
{
    const col_option *table = col_compile_option_table;
    const char *name = plan->source && plan->source->path ? plan->source->path : "";
    if (!plan->source || !*plan->source->text) {
        return col_error_make(COL_BAD_INPUT, "the plan does not hold its model's text");
    }
    col_options *given = COL_NEW(arena, col_options);
    for (size_t i = 0; i < plan->source->n_options; i++) {
        const Col__Plan__Option *o = plan->source->options[i];
        const col_option *option = col_option_find(&table, &col_compile_option_count, 1, o->name);
        if (!option || !changes_programs(o->name)) {
            return col_error_make(COL_BAD_INPUT,
                                  "the plan was compiled with --%s, which this colc does not know", o->name);
        }
        col_vec_push(arena, &given->values, ((col_option_value){option, o->value}));
    }
    *out = (col_compile_options){.model_path = name};
    for (size_t i = 0; i < COL_COUNT(uses); i++) {
        if (!strcmp(plan->use, uses[i])) out->use = (col_use)i;
    }
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){name, plan->source->text, strlen(plan->source->text)};
    out->source = source;
    return col_compile_options_read(given, arena, out);
}
