/* Predicted seconds of a plan's instructions, and which of its programs make a step. */
#ifndef COL_FRONTEND_PREDICT_H
#define COL_FRONTEND_PREDICT_H

#include "ir/plan/plan.h"
#include "passes/cost.h"

/* Fills in `seconds` of every instruction, and how well the machine overlaps. */
void col_predict(const col_machine *machine, col_plan *plan);

/* What the cost model takes the instruction for. */
col_cost_class col_predict_class(const col_plan_instruction *instruction);

/* Whether it sends data between ranks; its seconds are then the links'. */
bool col_predict_communicates(const col_plan_instruction *instruction);
/* Whether it does so while others compute. */
bool col_predict_overlaps(const col_plan_instruction *instruction);
/* Whether it only waits for such a one. */
bool col_predict_waits(const col_plan_instruction *instruction);

/* How often the program runs in one step: in a training step, a forward pass, or for one generated token. */
int64_t col_predict_runs(const col_plan *plan, const col_plan_program *program);

typedef struct col_predicted_communication {
    double seconds;                                   /* of the step in which ranks communicate, */
    double exposed;                                   /* and in which they do nothing else */
    double bytes, by_kind[COL_PLAN_COLLECTIVE_KINDS]; /* that each sends, on average */
} col_predicted_communication;
void col_predict_communication(const col_plan *plan, col_predicted_communication *out);
/* Seconds of a run of the program, and of a step: on two clocks (ir/plan/plan_clocks.h). */
double col_predict_program(const col_plan *plan, const col_plan_program *program);
double col_predict_step(const col_plan *plan);
/* Seconds of a step's instructions that do nothing but compute forward values again. */
double col_predict_again(const col_plan *plan);

#endif
