/* Folders of Hugging Face: to a model's text and weights (import), and back (export).
 *
 * family.c        the tables: which models and classes, what each field of config.json means
 * config_*.c      config.json to settings, and settings to config.json
 * text.c          the shipped text of a model with settings in its header
 * folder.c        files that are taken over as they are
 * import.c export.c   the two ways */
#ifndef COL_HF_IMPORT_H
#define COL_HF_IMPORT_H

#include "frontend/parse.h"

/* What an import or export did, for people. */
typedef struct col_hf_report {
    const char *family;
    size_t tensors;
    double elements;
    bool copied;         /* import: the weights could not be linked */
    const char *unknown; /* import: fields of config.json that are not known: "'a', 'b'"; NULL: none */
} col_hf_report;

/* Reads DIR/config.json and the headers of DIR's safetensors, and writes OUT/model.ir, the weights as links to
 * DIR's files, and copies of config.json and the tokenizer's files. Everything is checked before anything is
 * written. OUT may be DIR. COL_BAD_INPUT for what is damaged, not supported, or does not fit together. */
COL_MUST_USE col_status col_hf_import(const char *folder, const char *out_folder, col_arena *arena,
                                      col_hf_report *out);

typedef struct col_hf_export_options {
    const char *model;   /* a text, or a folder with model.ir */
    const char *weights; /* whatever col_weights_open takes; NULL: the model's folder */
    const col_parse_setting *settings;
    size_t setting_count;
} col_hf_export_options;

/* Writes OUT/config.json and OUT/model.safetensors (shards and an index beyond 5 GB) under Hugging Face's names, in
 * the types that the weights have, and copies the tokenizer's files. A config.json beside the model keeps its other
 * fields. COL_BAD_INPUT for a model that is none of the shipped ones, or that transformers lacks. */
COL_MUST_USE col_status col_hf_export(const col_hf_export_options *options, const char *out_folder,
                                      col_arena *arena, col_hf_report *out);

#endif
