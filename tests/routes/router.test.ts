/** Constants of routers: what the reference reads from config.json, and what it sets whatever config.json says. */
import { describe, expect, it } from "vitest"
import { fieldsOf } from "./describe.ts"

describe("the weight of the auxiliary loss", () => {
  it.each([
    ["gpt-oss-a", { router_aux_loss_coef: 0.9 }, 0.9],
    ["olmoe-a", { router_aux_loss_coef: 0.02 }, 0.02],
    ["ernie-4.5-moe-a", { router_aux_loss_coef: 0.02 }, 0.02],
    ["qwen3.5-moe-text-packed-a", { router_aux_loss_coef: 0.02 }, 0.02],
    ["minimax-m2-a", { router_aux_loss_coef: 0.02 }, 0.02],
    ["minimax-m3-a", { text_config: { router_aux_loss_coef: 0.02 } }, 0.02],
    ["deepseek-v2-a", { aux_loss_alpha: 0.003 }, 0.003],
    ["glm-5-a", { aux_loss_alpha: 0.003, router_aux_loss_coef: 0.02 }, 0.003],
    ["bailing-moe-v2-a", { router_aux_loss_coef: 0.02 }, 0.02]
  ])("%s has it from the config", (name, change, value) => expect(fieldsOf(name, change)["moe_aux_loss_coeff"]).toBe(value))

  it.each([
    ["qwen3-moe-a", { router_aux_loss_coef: 0.02 }, 0.001],
    ["qwen3-next-a", { router_aux_loss_coef: 0.02 }, 0.001],
    ["qwen3-vl-moe-a", { text_config: { router_aux_loss_coef: 0.02 } }, 0.001],
    ["glm-4.5-a", { router_aux_loss_coef: 0.02 }, 0.001],
    ["kimi-k2-a", { aux_loss_alpha: 0.02 }, 0.001],
    ["nemotron-h-moe-a", { router_aux_loss_coef: 0.02 }, 0.0001]
  ])("%s has the reference's own", (name, change, value) => expect(fieldsOf(name, change)["moe_aux_loss_coeff"]).toBe(value))

  it.each([
    ["deepseek-v2-a", { aux_loss_alpha: undefined }],
    ["glm-5-a", {}],
    ["glm-4.5v-a", {}],
    ["qwen3-omni-moe-a", { thinker_config: { text_config: { router_aux_loss_coef: 0.02 } } }]
  ])("%s leaves it to the provider", (name, change) => expect(fieldsOf(name, change)).not.toHaveProperty("moe_aux_loss_coeff"))
})

describe("the score function", () => {
  it.each([
    ["kimi-k2-a", "softmax", "softmax"],
    ["mimo-v2-flash-a", "softmax", "softmax"],
    ["exaone-moe-a", "softmax", "softmax"],
    ["deepseek-v2-a", "sigmoid", "sigmoid"],
    ["deepseek-v3-a", "softmax", "sigmoid"],
    ["minimax-m2-a", "softmax", "sigmoid"],
    ["glm-4.7-flash-a", "softmax", "sigmoid"]
  ])("%s: scoring_func %s gives %s", (name, scoring_func, given) => expect(fieldsOf(name, { scoring_func })["moe_router_score_function"]).toBe(given))
})

it("softmax stands before the choice of experts where their weights are not normalised again, in one family always", () => {
  expect([true, false].map((norm_topk_prob) => fieldsOf("qwen3-moe-a", { norm_topk_prob })["moe_router_pre_softmax"])).toEqual([false, true])
  expect([true, false].map((norm_topk_prob) => fieldsOf("olmoe-a", { norm_topk_prob })["moe_router_pre_softmax"])).toEqual([true, true])
})

it("a router that asks for single precision gets it", () => {
  expect(fieldsOf("step-3.5-a", { need_fp32_gate: true })["moe_router_dtype"]).toBe("fp32")
  expect(fieldsOf("step-3.5-a")).not.toHaveProperty("moe_router_dtype")
})
