; ModuleID = ""
target triple = "unknown-unknown-unknown"
target datalayout = ""

define void @"apply"(ptr %"source", ptr %"target", i64 %"count")
{
entry:
  br label %"at.loop"
at.loop:
  %"at" = phi  i64 [0, %"entry"], [%"at.next", %"at.body"]
  %"at.more" = icmp slt i64 %"at", %"count"
  br i1 %"at.more", label %"at.body", label %"at.end"
at.body:
  %"source.at" = getelementptr inbounds float, ptr %"source", i64 %"at"
  %"x" = load <8 x float>, ptr %"source.at", align 4
  %"update_gate.bounded.above.first" = fcmp olt <8 x float> splat (float 0x405601e680000000), %"x"
  %"update_gate.bounded.above" = select  <8 x i1> %"update_gate.bounded.above.first", <8 x float> splat (float 0x405601e680000000), <8 x float> %"x"
  %"update_gate.bounded.first" = fcmp ogt <8 x float> splat (float 0xc0562e4300000000), %"update_gate.bounded.above"
  %"update_gate.bounded" = select  <8 x i1> %"update_gate.bounded.first", <8 x float> splat (float 0xc0562e4300000000), <8 x float> %"update_gate.bounded.above"
  %"update_gate.shifted" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.bounded", <8 x float> splat (float 0xbff7154760000000), <8 x float> splat (float 0x4168000fe0000000))
  %"update_gate.shifted.bits" = bitcast <8 x float> %"update_gate.shifted" to <8 x i32>
  %"update_gate.power.bits" = shl <8 x i32> %"update_gate.shifted.bits", splat (i32 23)
  %"update_gate.count" = fsub <8 x float> %"update_gate.shifted", splat (float 0x4168000fe0000000)
  %"update_gate.power" = bitcast <8 x i32> %"update_gate.power.bits" to <8 x float>
  %"update_gate.rest.high" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.count", <8 x float> splat (float 0x3fe62e4000000000), <8 x float> %"update_gate.bounded")
  %"update_gate.rest" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.count", <8 x float> splat (float 0x3eb7f7d1c0000000), <8 x float> %"update_gate.rest.high")
  %"update_gate.linear" = fsub <8 x float> splat (float 0x3ff0000000000000), %"update_gate.rest"
  %"update_gate.grown.power2" = fmul <8 x float> %"update_gate.rest", %"update_gate.rest"
  %"update_gate.grown" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.rest", <8 x float> splat (float 0xbfc5554b40000000), <8 x float> splat (float 0x3fdfffffe0000000))
  %"update_gate.grown.1" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.rest", <8 x float> splat (float 0xbf812252e0000000), <8 x float> splat (float 0x3fa5556f80000000))
  %"update_gate.grown.2" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.grown.power2", <8 x float> splat (float 0x3f56b95c60000000), <8 x float> %"update_gate.grown.1")
  %"update_gate.grown.3" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.grown.power2", <8 x float> %"update_gate.grown.2", <8 x float> %"update_gate.grown")
  %"update_gate.grown.4" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.grown.power2", <8 x float> %"update_gate.grown.3", <8 x float> %"update_gate.linear")
  %"update_gate.denominator" = call <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %"update_gate.grown.4", <8 x float> %"update_gate.power", <8 x float> splat (float 0x3ff0000000000000))
  %"update_gate" = fdiv <8 x float> splat (float 0x3ff0000000000000), %"update_gate.denominator"
  %"target.at" = getelementptr inbounds float, ptr %"target", i64 %"at"
  store <8 x float> %"update_gate", ptr %"target.at", align 4
  %"at.next" = add nsw i64 %"at", 8
  br label %"at.loop"
at.end:
  ret void
}

declare <8 x float> @"llvm.fmuladd.v8f32"(<8 x float> %".1", <8 x float> %".2", <8 x float> %".3")
