/* Recipes: the options of a run as a YAML file, one `key: value` for each `--key value`.
 *
 *     model: ../gpt2.ir            # relative to the recipe; stands for the MODEL argument
 *     set: { layers: 48, width: 1600, heads: 25 }
 *     batch: 8
 *     data: [a.txt, b.txt]         # options that repeat take lists
 *     time-passes: true            # flags take true or false */
#ifndef COL_FRONTEND_RECIPE_H
#define COL_FRONTEND_RECIPE_H

#include "ir/base/options.h"

/* Reads the recipe and adds its options to those of the command line, which win: an option that the command
 * line gave is left alone, a hyperparameter under `set` that it set keeps the command line's value, and
 * `model` counts where there is no positional argument. Values live in `arena`.
 *
 * A key must be an option of the command (`options` as col_options_parse left it), "model", "set", or in
 * one of the `elsewhere` tables: options of other commands are passed over, so that one recipe serves them
 * all. COL_BAD_INPUT, each fault with its place, for unknown or repeated keys, a value of the wrong form, and
 * what is not YAML. */
COL_MUST_USE col_status col_recipe_apply(const char *path, const col_option *const *elsewhere,
                                         const size_t *elsewhere_sizes, size_t elsewhere_count,
                                         col_options *options, col_arena *arena);

#endif
