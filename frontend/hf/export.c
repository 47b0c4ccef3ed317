/* Only models that are the shipped ones can be exported: the text is compared, as the graph that it makes, with the
 * family's under the same settings, so that what transformers will compute is what was computed here. */
#include "frontend/hf/import.h"

#include <string.h>
#include <sys/stat.h>

#include "frontend/hf/config.h"
#include "frontend/hf/folder.h"
#include "frontend/hf/text.h"
#include "frontend/hf/wanted.h"
#include "ir/base/file.h"
#include "runtime/store/checkpoint.h"

typedef struct export
{
    const col_hf_export_options *options;
    const char *out_folder, *model_path, *model_folder;
    col_arena *arena;
    const col_hf_family *family;
    const col_graph *graph;
    const char *config; /* text */
    COL_VEC(col_tensor_source) sources;
}
export;

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static void find_model(export *ex)
{
    const char *model = ex->options->model, *slash = strrchr(model, '/');
    if (is_folder(model)) {
        ex->model_folder = model;
        ex->model_path = col_arena_printf(ex->arena, "%s/model.ir", model);
    } else {
        ex->model_path = model;
        ex->model_folder = slash ? col_arena_strndup(ex->arena, model, (size_t)(slash - model) + 1) : ".";
    }
}

static const char *graph_text(const col_graph *graph, col_arena *arena)
{
    col_str text = {0};
    col_graph_print(graph, &text);
    const char *copy = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    return copy;
}

static bool is_shipped(export *ex)
{
    const char *text = col_hf_text(ex->family, ex->graph->settings.data, ex->graph->settings.len, ex->arena);
    col_source source = {"shipped", text, text ? strlen(text) : 0};
    col_graph *shipped;
    return text && !col_error_ignore(col_parse_model(&source, NULL, ex->arena, &shipped)) &&
           !strcmp(graph_text(shipped, ex->arena), graph_text(ex->graph, ex->arena));
}

static col_status read_model(export *ex)
{
    col_source *source = COL_NEW(ex->arena, col_source);
    col_parse_options options = {.settings = ex->options->settings,
                                 .setting_count = ex->options->setting_count};
    char *text;
    size_t size;
    col_graph *graph;
    COL_TRY(col_file_read(ex->arena, ex->model_path, COL_PARSE_BYTES, &text, &size));
    *source = (col_source){ex->model_path, text, size};
    COL_TRY(col_parse_model(source, &options, ex->arena, &graph));
    ex->graph = graph;
    ex->family = col_hf_family_find(graph->name);
    if (!ex->family) {
        return col_error_make(
            COL_BAD_INPUT,
            "'%s': transformers is not known to have the model '%s': what can be exported is %s",
            ex->model_path, graph->name, col_hf_family_names(ex->arena));
    }
    if (is_shipped(ex)) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "'%s' computes something else than models/%s.ir does with these settings, and so than "
        "transformers does: export a model with the shipped text",
        ex->model_path, ex->family->name);
}

static const char *name_of(const export *ex, const char *name)
{
    const char *other = col_weights_resnet_name(name, ex->arena);
    return other && !strcmp(ex->family->name, "resnet")
               ? other
               : col_arena_printf(ex->arena, "%s%s", ex->family->prefix, name);
}

/* Beside the running mean of a batch norm PyTorch keeps a count of batches, which nothing here reads: it is that of
 * the file, or 0. */
static void add_count(export *ex, const col_safetensors *set, const col_wanted_tensor *w,
                      const col_stored_tensor *t)
{
    static const char mean[] = "running_mean", count[] = "num_batches_tracked";
    static const int64_t none = 0;
    size_t size = strlen(w->name), stored_size = strlen(t->name);
    if (size < strlen(mean) || strcmp(w->name + size - strlen(mean), mean)) return;
    const char *stored =
        col_arena_printf(ex->arena, "%.*s%s", (int)(stored_size - strlen(mean)), t->name, count);
    const col_stored_tensor *there = col_safetensors_find(set, stored);
    bool is_count = there && there->dtype == COL_STORE_I64 && !there->rank;
    const char *ours = col_arena_printf(ex->arena, "%.*s%s", (int)(size - strlen(mean)), w->name, count);
    col_tensor_source source = {
        .name = name_of(ex, ours), .dtype = COL_STORE_I64, .data = is_count ? there->data : &none};
    col_vec_push(ex->arena, &ex->sources, source);
}

static col_status find_sources(export *ex, const col_safetensors *set, const char *path)
{
    size_t count;
    const col_wanted_tensor *wanted = col_hf_wanted(ex->graph, ex->arena, &count);
    const col_stored_tensor **found = COL_NEW_ARRAY(ex->arena, const col_stored_tensor *, count);
    col_weights_rule rule = {true, "Give the weights of this model, or its settings (--set)"};
    COL_TRY(col_weights_match(set, path, wanted, count, rule, ex->arena, found));
    for (size_t i = 0; i < count; i++) {
        const col_stored_tensor *t = found[i];
        col_tensor_source source = {.name = name_of(ex, wanted[i].name),
                                    .dtype = t->dtype,
                                    .rank = t->rank,
                                    .shape = t->shape,
                                    .data = t->data};
        col_vec_push(ex->arena, &ex->sources, source);
        add_count(ex, set, &wanted[i], t);
    }
    return NULL;
}

/* transformers loads all weights in the type that config.json names. */
static const char *weights_dtype(const export *ex)
{
    bool has[COL_STORE_DTYPE_COUNT] = {false};
    for (size_t i = 0; i < ex->sources.len; i++) has[ex->sources.data[i].dtype] = true;
    if (has[COL_STORE_F32] || has[COL_STORE_F16] == has[COL_STORE_BF16]) return "float32";
    return has[COL_STORE_F16] ? "float16" : "bfloat16";
}

static col_status make_config(export *ex)
{
    const char *path = col_arena_printf(ex->arena, "%s/config.json", ex->model_folder);
    char *base = NULL;
    if (col_file_exists(path)) {
        size_t size;
        col_hf_config config;
        COL_TRY(col_file_read(ex->arena, path, COL_HF_CONFIG_BYTES, &base, &size));
        COL_TRY(col_hf_config_read(path, base, size, ex->arena, &config));
        if (config.family != ex->family) {
            return col_error_make(COL_BAD_INPUT, "'%s' is of a %s, but the model beside it is %s: remove it",
                                  path, config.family->name, ex->family->name);
        }
    }
    return col_hf_config_write(ex->family, ex->graph->settings.data, ex->graph->settings.len, base,
                               weights_dtype(ex), ex->arena, &ex->config);
}

static col_status copy_companions(const export *ex, const char *from)
{
    if (!is_folder(from) || col_hf_same_folder(from, ex->out_folder)) return NULL;
    return col_hf_copy_companions(from, ex->out_folder, ex->arena);
}

static col_status write_all(const export *ex, const char *weights)
{
    COL_TRY(col_hf_check_companions(weights, ex->arena));
    COL_TRY(col_hf_check_companions(ex->model_folder, ex->arena));
    COL_TRY(col_make_folder(ex->out_folder));
    COL_TRY(col_safetensors_write_base(ex->out_folder, "model", ex->sources.data, ex->sources.len, NULL, 0,
                                       COL_SAFETENSORS_SHARD_BYTES));
    COL_TRY(copy_companions(ex, weights));
    COL_TRY(copy_companions(ex, ex->model_folder));
    return col_file_write(col_arena_printf(ex->arena, "%s/config.json", ex->out_folder), ex->config,
                          strlen(ex->config));
}

col_status col_hf_export(const col_hf_export_options *options, const char *out_folder, col_arena *arena,
                         col_hf_report *out)
{
    export ex = {.options = options, .out_folder = out_folder, .arena = arena};
    col_safetensors *set;
    const char *notice;
    *out = (col_hf_report){0};
    find_model(&ex);
    COL_TRY(read_model(&ex));
    const char *weights = options->weights ? options->weights : ex.model_folder;
    COL_TRY(col_weights_open(arena, weights, &set, &notice));
    col_status status = find_sources(&ex, set, weights);
    if (!status) status = make_config(&ex);
    if (!status) status = write_all(&ex, weights);
    col_safetensors_close(set);
    out->family = ex.family->name;
    out->tensors = ex.sources.len;
    for (size_t i = 0; !status && i < ex.sources.len; i++) {
        const col_tensor_source *s = &ex.sources.data[i];
        double elements = 1;
        for (uint32_t d = 0; d < s->rank; d++) elements *= (double)s->shape[d];
        out->elements += elements;
    }
    return status;
}
