/* Weights are not copied but linked: the loader reads them under their own names and types, so their bytes can stay,
 * and an import takes no longer than reading the headers. A hard link rather than a symbolic one, because the
 * imported folder then stands when the other is removed. */
#include "frontend/hf/import.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/hf/config.h"
#include "frontend/hf/folder.h"
#include "frontend/hf/text.h"
#include "frontend/hf/wanted.h"
#include "ir/base/file.h"

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"

typedef struct import {
    const char *folder, *out_folder;
    col_arena *arena;
    col_hf_config config;
    const char *text;
    const col_graph *graph;
} import;

static const char *join(const import *im, const char *folder, const char *name)
{
    return col_arena_printf(im->arena, "%s/%s", folder, name);
}

static col_status read_config(import *im)
{
    const char *path = join(im, im->folder, "config.json");
    char *bytes;
    size_t size;
    struct stat info;
    if (stat(im->folder, &info) || !S_ISDIR(info.st_mode) || !col_file_exists(path)) {
        return col_error_make(
            COL_BAD_INPUT,
            "'%s' is no folder with a config.json: give one as transformers' save_pretrained "
            "writes it",
            im->folder);
    }
    COL_TRY(col_weights_confine(im->folder, path));
    COL_TRY(col_file_read(im->arena, path, COL_HF_CONFIG_BYTES, &bytes, &size));
    return col_hf_config_read(path, bytes, size, im->arena, &im->config);
}

static col_status make_graph(import *im)
{
    const char *text =
        col_hf_text(im->config.family, im->config.settings.data, im->config.settings.len, im->arena);
    COL_ASSERT(text);
    im->text = col_arena_printf(
        im->arena,
        "# Imported by 'colc import hf' from a %s of transformers: the header has its sizes.\n"
        "#\n%s",
        im->config.class->name, text);
    col_source *source = COL_NEW(im->arena, col_source);
    col_graph *graph;
    *source = (col_source){"model.ir", im->text, strlen(im->text)};
    COL_TRY(col_error_annotate(col_parse_model(source, NULL, im->arena, &graph),
                               "%s/config.json makes no model", im->folder));
    im->graph = graph;
    return NULL;
}

static col_status check_weights(const import *im, const col_safetensors *set)
{
    size_t count;
    const col_wanted_tensor *wanted = col_hf_wanted(im->graph, im->arena, &count);
    const col_stored_tensor **found = COL_NEW_ARRAY(im->arena, const col_stored_tensor *, count);
    col_weights_rule rule = {true,
                             "config.json and the weights are not of one model: save or download both again"};
    return col_weights_match(set, im->folder, wanted, count, rule, im->arena, found);
}

/* The files of the set lie below the folder, under names that keep them there. */
static col_status link_weights(const import *im, const col_safetensors *set, bool *out_copied)
{
    size_t prefix = strlen(im->folder) + 1;
    bool is_single = col_file_exists(join(im, im->folder, SINGLE));
    for (size_t i = 0; i < col_safetensors_file_count(set); i++) {
        const char *from = col_safetensors_file(set, i)->path;
        char *to = col_arena_printf(im->arena, "%s/%s", im->out_folder, from + prefix);
        char *name = strrchr(to, '/');
        *name = '\0';
        COL_TRY(col_make_folder(to));
        *name = '/';
        COL_TRY(col_hf_link(from, to, out_copied));
    }
    if (!is_single) COL_TRY(col_hf_copy(im->folder, im->out_folder, INDEX, im->arena));
    unlink(join(im, im->out_folder, is_single ? INDEX : SINGLE)); /* of an earlier import: it would mislead */
    return NULL;
}

static col_status write_all(const import *im, const col_safetensors *set, bool *out_copied)
{
    COL_TRY(col_make_folder(im->out_folder));
    if (!col_hf_same_folder(im->folder, im->out_folder)) {
        COL_TRY(link_weights(im, set, out_copied));
        COL_TRY(col_hf_copy(im->folder, im->out_folder, "config.json", im->arena));
        COL_TRY(col_hf_copy_companions(im->folder, im->out_folder, im->arena));
    }
    return col_file_write(join(im, im->out_folder, "model.ir"), im->text, strlen(im->text));
}

static void fill_report(const import *im, col_hf_report *out)
{
    size_t count;
    const col_wanted_tensor *wanted = col_hf_wanted(im->graph, im->arena, &count);
    out->family = im->config.family->name;
    out->unknown = im->config.unknown;
    out->tensors = count;
    for (size_t i = 0; i < count; i++) {
        double elements = 1;
        for (uint32_t d = 0; d < wanted[i].rank; d++) elements *= (double)wanted[i].shape[d];
        out->elements += elements;
    }
}

col_status col_hf_import(const char *folder, const char *out_folder, col_arena *arena, col_hf_report *out)
{
import im = {.folder = folder, .out_folder = out_folder, .arena = arena };
    col_safetensors *set;
    *out = (col_hf_report){0};
    COL_TRY(read_config(&im));
    COL_TRY(make_graph(&im));
    fill_report(&im, out);
    COL_TRY(col_weights_confine(folder, join(&im, folder, SINGLE)));
    COL_TRY(col_weights_confine(folder, join(&im, folder, INDEX)));
    COL_TRY(col_safetensors_open(folder, &set));
    col_status status = check_weights(&im, set);
    if (!status) status = col_hf_check_companions(folder, arena);
    if (!status) status = write_all(&im, set, &out->copied);
    col_safetensors_close(set);
    return status;
}
