;; Sums and products of the rows of tables, sixteen bytes at a time. `kernel.ts` calls it; `npm run kernel` makes `kernel-bytes.ts`
;; of it.
;;
;; $rows, $scales  where the table's bytes and its float32 scales begin
;; $bytes          bytes of a row, a multiple of 16: its components in 8 bits, half of them in 4
;; $ids, $factors  int32 and float32, $count of each; the ids have been checked
;; $sum            float32, one for each component
;;
;; A byte of a table of four bits has component i in its low half and component i + $bytes in its high one; n stands for 2n - 15.
(module
  (import "env" "memory" (memory 1))

  ;; Adds rows of 8 bits, each times its scale and its factor, to $sum.
  (func (export "add8") (param $rows i32) (param $scales i32) (param $bytes i32) (param $ids i32) (param $factors i32) (param $count i32) (param $sum i32)
    (local $last i32) (local $p i32) (local $end i32) (local $s i32) (local $t i32) (local $b v128) (local $n v128) (local $f v128)
    (local.set $last (i32.add (local.get $ids) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $ids) (local.get $last)))
        (local.set $p (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (local.get $bytes))))
        (local.set $end (i32.add (local.get $p) (local.get $bytes)))
        (local.set $f (f32x4.splat (f32.mul (f32.load (local.get $factors))
          (f32.load (i32.add (local.get $scales) (i32.shl (i32.load (local.get $ids)) (i32.const 2)))))))
        (local.set $s (local.get $sum))
        (loop $part
          (local.set $b (v128.load (local.get $p)))
          (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $b)))))))
          (v128.store offset=16 (local.get $s) (f32x4.add (v128.load offset=16 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $b)))))))
          (v128.store offset=32 (local.get $s) (f32x4.add (v128.load offset=32 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $b)))))))
          (v128.store offset=48 (local.get $s) (f32x4.add (v128.load offset=48 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $b)))))))
          (local.set $s (i32.add (local.get $s) (i32.const 64)))
          (local.set $p (i32.add (local.get $p) (i32.const 16)))
          (br_if $part (i32.lt_u (local.get $p) (local.get $end))))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $factors (i32.add (local.get $factors) (i32.const 4)))
        (br $row))))

  ;; Adds rows of 4 bits, each times its scale and its factor, to $sum.
  (func (export "add4") (param $rows i32) (param $scales i32) (param $bytes i32) (param $ids i32) (param $factors i32) (param $count i32) (param $sum i32)
    (local $last i32) (local $p i32) (local $end i32) (local $s i32) (local $t i32) (local $b v128) (local $n v128) (local $f v128)
    (local.set $last (i32.add (local.get $ids) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $ids) (local.get $last)))
        (local.set $p (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (local.get $bytes))))
        (local.set $end (i32.add (local.get $p) (local.get $bytes)))
        (local.set $f (f32x4.splat (f32.mul (f32.load (local.get $factors))
          (f32.load (i32.add (local.get $scales) (i32.shl (i32.load (local.get $ids)) (i32.const 2)))))))
        (local.set $s (local.get $sum))
        (local.set $t (i32.add (local.get $sum) (i32.shl (local.get $bytes) (i32.const 2))))
        (loop $part
          (local.set $b (v128.load (local.get $p)))
          (local.set $n (i8x16.sub (i8x16.shl (v128.and (local.get $b) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)) (i32.const 1)) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)))
          (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (v128.store offset=16 (local.get $s) (f32x4.add (v128.load offset=16 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (v128.store offset=32 (local.get $s) (f32x4.add (v128.load offset=32 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (v128.store offset=48 (local.get $s) (f32x4.add (v128.load offset=48 (local.get $s))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $n (i8x16.sub (i8x16.shl (i8x16.shr_u (local.get $b) (i32.const 4)) (i32.const 1)) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)))
          (v128.store (local.get $t) (f32x4.add (v128.load (local.get $t))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (v128.store offset=16 (local.get $t) (f32x4.add (v128.load offset=16 (local.get $t))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (v128.store offset=32 (local.get $t) (f32x4.add (v128.load offset=32 (local.get $t))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (v128.store offset=48 (local.get $t) (f32x4.add (v128.load offset=48 (local.get $t))
            (f32x4.mul (local.get $f) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $s (i32.add (local.get $s) (i32.const 64)))
          (local.set $t (i32.add (local.get $t) (i32.const 64)))
          (local.set $p (i32.add (local.get $p) (i32.const 16)))
          (br_if $part (i32.lt_u (local.get $p) (local.get $end))))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $factors (i32.add (local.get $factors) (i32.const 4)))
        (br $row))))

  ;; Puts the product of each row of 8 bits and $sum where the row's factor is.
  (func (export "dot8") (param $rows i32) (param $scales i32) (param $bytes i32) (param $ids i32) (param $factors i32) (param $count i32) (param $sum i32)
    (local $last i32) (local $p i32) (local $end i32) (local $s i32) (local $t i32) (local $b v128) (local $n v128) (local $f v128)
    (local.set $last (i32.add (local.get $ids) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $ids) (local.get $last)))
        (local.set $p (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (local.get $bytes))))
        (local.set $end (i32.add (local.get $p) (local.get $bytes)))
        (local.set $f (v128.const f32x4 0 0 0 0))
        (local.set $s (local.get $sum))
        (loop $part
          (local.set $b (v128.load (local.get $p)))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $b)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=16 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $b)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=32 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $b)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=48 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $b)))))))
          (local.set $s (i32.add (local.get $s) (i32.const 64)))
          (local.set $p (i32.add (local.get $p) (i32.const 16)))
          (br_if $part (i32.lt_u (local.get $p) (local.get $end))))
        (f32.store (local.get $factors) (f32.mul
          (f32.load (i32.add (local.get $scales) (i32.shl (i32.load (local.get $ids)) (i32.const 2))))
          (f32.add
            (f32.add (f32x4.extract_lane 0 (local.get $f)) (f32x4.extract_lane 1 (local.get $f)))
            (f32.add (f32x4.extract_lane 2 (local.get $f)) (f32x4.extract_lane 3 (local.get $f))))))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $factors (i32.add (local.get $factors) (i32.const 4)))
        (br $row))))

  ;; Puts the product of each row of 4 bits and $sum where the row's factor is.
  (func (export "dot4") (param $rows i32) (param $scales i32) (param $bytes i32) (param $ids i32) (param $factors i32) (param $count i32) (param $sum i32)
    (local $last i32) (local $p i32) (local $end i32) (local $s i32) (local $t i32) (local $b v128) (local $n v128) (local $f v128)
    (local.set $last (i32.add (local.get $ids) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $ids) (local.get $last)))
        (local.set $p (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (local.get $bytes))))
        (local.set $end (i32.add (local.get $p) (local.get $bytes)))
        (local.set $f (v128.const f32x4 0 0 0 0))
        (local.set $s (local.get $sum))
        (local.set $t (i32.add (local.get $sum) (i32.shl (local.get $bytes) (i32.const 2))))
        (loop $part
          (local.set $b (v128.load (local.get $p)))
          (local.set $n (i8x16.sub (i8x16.shl (v128.and (local.get $b) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)) (i32.const 1)) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=16 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=32 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=48 (local.get $s))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $n (i8x16.sub (i8x16.shl (i8x16.shr_u (local.get $b) (i32.const 4)) (i32.const 1)) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load (local.get $t))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=16 (local.get $t))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_low_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=32 (local.get $t))
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $f (f32x4.add (local.get $f) (f32x4.mul (v128.load offset=48 (local.get $t))
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (i16x8.extend_high_i8x16_s (local.get $n)))))))
          (local.set $s (i32.add (local.get $s) (i32.const 64)))
          (local.set $t (i32.add (local.get $t) (i32.const 64)))
          (local.set $p (i32.add (local.get $p) (i32.const 16)))
          (br_if $part (i32.lt_u (local.get $p) (local.get $end))))
        (f32.store (local.get $factors) (f32.mul
          (f32.load (i32.add (local.get $scales) (i32.shl (i32.load (local.get $ids)) (i32.const 2))))
          (f32.add
            (f32.add (f32x4.extract_lane 0 (local.get $f)) (f32x4.extract_lane 1 (local.get $f)))
            (f32.add (f32x4.extract_lane 2 (local.get $f)) (f32x4.extract_lane 3 (local.get $f))))))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $factors (i32.add (local.get $factors) (i32.const 4)))
        (br $row))))

  ;; Makes a vector's length 1, where it has one. $end is the end of its bytes, a multiple of 16 of them.
  (func (export "unit") (param $from i32) (param $end i32)
    (local $at i32) (local $squares v128) (local $sum f32)
    (local.set $at (local.get $from))
    (loop $square
      (local.set $squares (f32x4.add (local.get $squares)
        (f32x4.mul (v128.load (local.get $at)) (v128.load (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $square (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $sum (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $squares)) (f32x4.extract_lane 1 (local.get $squares)))
      (f32.add (f32x4.extract_lane 2 (local.get $squares)) (f32x4.extract_lane 3 (local.get $squares)))))
    (if (f32.gt (local.get $sum) (f32.const 0)) (then
      (local.set $squares (f32x4.splat (f32.div (f32.const 1) (f32.sqrt (local.get $sum)))))
      (local.set $at (local.get $from))
      (loop $scale
        (v128.store (local.get $at) (f32x4.mul (v128.load (local.get $at)) (local.get $squares)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $scale (i32.lt_u (local.get $at) (local.get $end))))))))
