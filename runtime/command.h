/* The commands of `colrun`. Each takes the plan's path (NULL where it takes none) and the parsed options of
 * its table (command_options.h), does all of its work and returns the error to report. */
#ifndef COL_RUNTIME_COMMAND_H
#define COL_RUNTIME_COMMAND_H

#include "ir/base/options.h"

typedef col_status (*col_command)(const char *plan_path, const col_options *options);

COL_MUST_USE col_status col_command_train(const char *plan_path, const col_options *options);
COL_MUST_USE col_status col_command_generate(const char *plan_path, const col_options *options);
COL_MUST_USE col_status col_command_run(const char *plan_path, const col_options *options);
COL_MUST_USE col_status col_command_info(const char *plan_path, const col_options *options);
COL_MUST_USE col_status col_command_probe(const char *plan_path, const col_options *options);

#endif
