package inflate

// fast decodes as long as there is room on both sides for whatever comes.
func (d *decoder) fast() error {
	in, out := d.in[:d.end], d.out
	lit, dist := &d.lit, &d.dist
	ip, op, bb, bn := d.ip, d.op, d.bb, d.bn
	safe := len(in) - inMargin
	var err error
loop:
	for ip <= safe && op < window+outSize {
		// At least 56 bits: of what was loaded before, the same bits again.
		bb |= load64(in, ip) << (bn & 63)
		ip += int((63 - bn) >> 3)
		bn |= 56
		e := lit[bb&(1<<litRoot-1)]
		if e&isLiteral != 0 {
			bb >>= e & 63
			bn -= uint(uint8(e))
			out[op] = byte(e >> 16)
			op++
			e = lit[bb&(1<<litRoot-1)]
			if e&isLiteral != 0 {
				bb >>= e & 63
				bn -= uint(uint8(e))
				out[op] = byte(e >> 16)
				op++
				e = lit[bb&(1<<litRoot-1)]
				if e&isLiteral != 0 {
					bb >>= e & 63
					bn -= uint(uint8(e))
					out[op] = byte(e >> 16)
					op++
					continue
				}
			}
			bb |= load64(in, ip) << (bn & 63)
			ip += int((63 - bn) >> 3)
			bn |= 56
		}
		if e&isOther != 0 {
			if e&isPointer == 0 {
				bb >>= e & 63
				bn -= uint(uint8(e))
				if e&isEnd != 0 {
					d.block = between
				} else {
					err = ErrCorrupt
				}
				break
			}
			bb >>= e & 63
			bn -= uint(uint8(e))
			e = lit[(uint64(e>>16)+bb&(1<<(e>>8&15)-1))&(uint64(len(lit))-1)]
			if e&isLiteral != 0 {
				bb >>= e & 63
				bn -= uint(uint8(e))
				out[op] = byte(e >> 16)
				op++
				continue
			}
			if e&isOther != 0 {
				bb >>= e & 63
				bn -= uint(uint8(e))
				if e&isEnd != 0 {
					d.block = between
				} else {
					err = ErrCorrupt
				}
				break
			}
		}
		length := int(e>>16) + int(bb&(1<<(e&63)-1)>>(e>>8&15))
		bb >>= e & 63
		bn -= uint(uint8(e))
		e = dist[bb&(1<<distRoot-1)]
		if e&isOther != 0 {
			if e&isPointer == 0 {
				err = ErrCorrupt
				break
			}
			bb >>= e & 63
			bn -= uint(uint8(e))
			e = dist[(uint64(e>>16)+bb&(1<<(e>>8&15)-1))&(uint64(len(dist))-1)]
			if e&isOther != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := int(e>>16) + int(bb&(1<<(e&63)-1)>>(e>>8&15))
		bb >>= e & 63
		bn -= uint(uint8(e))
		from := op - distance
		if from < d.hist {
			err = ErrCorrupt
			break
		}
		end := op + length
		switch {
		case distance >= 16:
			for {
				*(*[16]byte)(out[op:]) = *(*[16]byte)(out[from:])
				op += 16
				from += 16
				if op >= end {
					break
				}
			}
			op = end
		case distance == 1:
			b := out[from]
			run := out[op:end]
			for i := range run {
				run[i] = b
			}
			op = end
		default:
			for op < end {
				out[op] = out[from]
				op++
				from++
			}
		}
		continue loop
	}
	d.ip, d.op, d.bb, d.bn = ip, op, bb&(1<<bn-1), bn
	if err == nil && d.block == between {
		d.ended()
	}
	return err
}
